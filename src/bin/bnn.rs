//! The command.
fn main() {
    for a in std::env::args().skip(1) {
        for c in bnn::run::verify::verify_file(&bnn::backend::Cpu::new(2).unwrap(), a.as_ref()).unwrap() {
            println!("{} {:.2e} {}", c.quantity, c.error, c.pass);
        }
    }
}
