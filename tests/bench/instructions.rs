//! A piece of work some times over, for counting its instructions: `instructions WORK TIMES` (see instructions.py).

use bnn::backend::vectors::{Coefficients, Langevin, Noise, Rule, Vectors};
use bnn::backend::{Cpu, cpu::Isa};
use bnn::generate::{Generator, Options};
use bnn::gpt::{Gpt, GptConfig, Objective, SquareSums, Squares, TokenBatch, Workspace};
use bnn::rng::{Stream, StreamTag};

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let (Some(work), Some(times)) = (args.next(), args.next()) else {
        println!("run tests/bench/instructions.py");
        return;
    };
    let times: u64 = times.parse().expect("a number of times");
    // The path that every machine has, so that counts are comparable; one thread, the caller's.
    let cpu = Cpu::with_isa(1, Isa::named("portable").expect("everywhere")).expect("a context");
    let gpt = Gpt::new(GptConfig::named("tiny", 65).expect("a named shape")).expect("a model");
    let params = gpt.layout().init(1);
    let tokens: Vec<u16> = (0..64).map(|i| i * 7 % 65).collect();
    let batch = TokenBatch::new(&tokens, &tokens, 16, Objective::All);
    match work.as_str() {
        "gradient" => {
            let mut ws = Workspace::for_gradients(&cpu, gpt.config(), 4, 16).expect("room");
            let mut grad = vec![0.0; params.len()];
            for _ in 0..times {
                gpt.gradient(&cpu, &params, batch, None, &mut ws, &mut grad)
                    .expect("a gradient");
            }
        }
        "gradient_and_squares" => {
            let mut ws = Workspace::for_gradients(&cpu, gpt.config(), 4, 16).expect("room");
            let (mut grad, mut squares) = (vec![0.0; params.len()], vec![0.0; params.len()]);
            for _ in 0..times {
                let of = Squares::Gradients;
                gpt.gradient_and_squares(
                    &cpu,
                    &params,
                    batch,
                    &mut ws,
                    &mut grad,
                    SquareSums {
                        of,
                        to: &mut squares,
                    },
                )
                .expect("a gradient with squares");
            }
        }
        "baoa_update" => {
            let n = 100_000;
            let (mut theta, mut momenta) = (vec![0.1; n], vec![0.1; n]);
            let (grad, center, mass) = (vec![0.1; n], vec![0.0; n], vec![2.0; n]);
            let mut record = cpu.record().expect("a record");
            for step in 0..times {
                let rule = Rule::Baoa(Coefficients {
                    kick: 1e-3,
                    friction: 1e-2,
                    noise: 1e-2,
                    drift: 1e-3,
                });
                let on = Langevin {
                    theta: &mut theta,
                    momenta: &mut momenta,
                    grad: &grad,
                    center: &center,
                    mass: Some(&mass),
                    gradient_noise: None,
                    blocks: &mut [],
                    noise: Noise::Counter {
                        stream: Stream::new(1, StreamTag::Noise, 0),
                        step,
                    },
                };
                cpu.langevin_update(rule, on, &mut record)
                    .expect("an update");
            }
        }
        "generation" => {
            let mut generator = Generator::new(&cpu, &gpt, vec![params; 2]).expect("a generator");
            let options = Options {
                max_new_tokens: 20,
                ..Options::default()
            };
            for text in 0..times {
                generator
                    .generate(&tokens[..4], &options, text, |_| true)
                    .expect("a text");
            }
        }
        other => panic!("unknown work {other}"),
    }
}
