//! Many independent chains in one parameter vector, and their moments with the error that their own spread gives.

use bnn::backend::Cpu;
use bnn::samplers::{ChainConfig, Phase, Sampler, StepReport};

/// A mean over replicas and its standard error.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub mean: f64,
    pub error: f64,
}

impl Estimate {
    /// From independent numbers.
    pub fn of(x: &[f64]) -> Self {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
        Self {
            mean,
            error: (squares / (n * (n - 1.0))).sqrt(),
        }
    }

    /// From numbers along a chain: `batches` means of as many, which are independent where a batch is long.
    pub fn of_chain(x: &[f64], batches: usize) -> Self {
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let means: Vec<f64> = x.chunks_exact(x.len() / batches).map(mean).collect();
        Self::of(&means)
    }

    /// How many standard errors `want` is off.
    pub fn off(&self, want: f64) -> f64 {
        if self.error == 0.0 && self.mean == want {
            return 0.0;
        }
        (self.mean - want).abs() / self.error
    }
}

/// Steps a chain to its end from `theta0`, with the momenta that it draws and the mass; element i of replica r lies at
/// i * replicas + r. `gradient` sees the sampler and fills the gradient at its parameters; `observe` sees every step.
pub fn run(
    c: &ChainConfig,
    theta0: &[f32],
    mass: &[f32],
    mut gradient: impl FnMut(&Sampler<Cpu>, &mut Vec<f32>),
    mut observe: impl FnMut(&Sampler<Cpu>, &StepReport),
) {
    let mut sampler = Sampler::new(Cpu::new(1).unwrap(), theta0, c.clone()).unwrap();
    sampler.set_mass(mass).unwrap();
    if let (Some(xi), true) = (c.xi, c.method.has_thermostat()) {
        assert_eq!(sampler.thermostat().unwrap().xi, xi);
    }
    let mut grad = vec![0.0; theta0.len()];
    while sampler.phase() != Phase::Done {
        gradient(&sampler, &mut grad);
        let report = sampler.step_with_gradient(&grad, 0.0).unwrap();
        observe(&sampler, &report);
    }
}

/// Each element of a vector of `d`, `replicas` times in a row.
pub fn repeat(x: &[f64], replicas: usize) -> Vec<f32> {
    let each = |&x: &f64| std::iter::repeat_n(x as f32, replicas);
    x.iter().flat_map(each).collect()
}

/// Sums of a state's first and second moments about a centre, a sum a replica.
pub struct Moments {
    replicas: usize,
    center: Vec<f64>,
    count: u64,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>, // pairs (i, j), j <= i
    state: Vec<Vec<f64>>,
}

impl Moments {
    pub fn new(center: &[f64], replicas: usize) -> Self {
        let n = center.len();
        let zeros = |n: usize| vec![vec![0.0; replicas]; n];
        Self {
            replicas,
            center: center.to_vec(),
            count: 0,
            first: zeros(n),
            second: zeros(n * (n + 1) / 2),
            state: zeros(n),
        }
    }

    /// Takes in a state: elements by replicas.
    pub fn add<'a>(&mut self, elements: impl Iterator<Item = &'a f32>) {
        let mut elements = elements;
        for (out, center) in self.state.iter_mut().zip(&self.center) {
            for out in out {
                *out = *elements.next().expect("the whole state") as f64 - center;
            }
        }
        let mut pair = 0;
        for (i, x) in self.state.iter().enumerate() {
            self.first[i].iter_mut().zip(x).for_each(|(s, x)| *s += x);
            for y in &self.state[..=i] {
                let products = x.iter().zip(y).map(|(x, y)| x * y);
                let sums = self.second[pair].iter_mut();
                sums.zip(products).for_each(|(s, xy)| *s += xy);
                pair += 1;
            }
        }
        self.count += 1;
    }

    fn estimate(&self, sums: &[f64]) -> Estimate {
        assert_eq!(sums.len(), self.replicas);
        let means: Vec<f64> = sums.iter().map(|s| s / self.count as f64).collect();
        Estimate::of(&means)
    }

    /// The mean of element i less its centre.
    pub fn mean(&self, i: usize) -> Estimate {
        self.estimate(&self.first[i])
    }

    /// The mean of the product of elements i and j, each less its centre.
    pub fn product(&self, i: usize, j: usize) -> Estimate {
        let (i, j) = (i.max(j), i.min(j));
        self.estimate(&self.second[i * (i + 1) / 2 + j])
    }

    /// How many standard errors the worst of all moments is off, and which: means against 0, products against `want`.
    pub fn worst(&self, want: &[Vec<f64>]) -> (f64, String) {
        let n = self.center.len();
        assert_eq!(want.len(), n);
        let means = (0..n).map(|i| (self.mean(i).off(0.0), format!("mean {i}")));
        let pairs = (0..n).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let products = pairs.map(|(i, j)| {
            let got = self.product(i, j);
            let what = format!("product {i} {j}: {got:?} for {}", want[i][j]);
            (got.off(want[i][j]), what)
        });
        let worse =
            |a: (f64, String), b: (f64, String)| if b.0 > a.0 || b.0.is_nan() { b } else { a };
        means.chain(products).fold((0.0, String::new()), worse)
    }

    /// How many comparisons that makes.
    pub fn comparisons(&self) -> usize {
        self.first.len() + self.second.len()
    }
}
