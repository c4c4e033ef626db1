//! stub
use crate::backend::Backend;
use crate::error::Result;
use crate::gpt::Gpt;
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Context {
    #[default]
    Exact,
    Hop,
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Options {
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub top_k: Option<usize>,
    pub seed: u64,
    pub context: Context,
}
impl Default for Options {
    fn default() -> Self {
        Self {
            max_new_tokens: 100,
            temperature: 0.8,
            top_k: None,
            seed: 0,
            context: Context::Exact,
        }
    }
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TokenInfo {
    pub token: u16,
    pub entropy: f64,
    pub expected_entropy: f64,
    pub mutual_information: f64,
    pub log_prob: f64,
}
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Generated {
    pub tokens: Vec<u16>,
    pub info: Vec<TokenInfo>,
    pub rereads: usize,
}
/// stub
pub struct Generator<B: Backend> {
    b: B,
    n: usize,
}
#[allow(missing_docs)]
impl<B: Backend> Generator<B> {
    pub fn new(b: &B, _g: &Gpt, s: Vec<B::Buf>) -> Result<Self> {
        Ok(Self {
            b: b.clone(),
            n: s.len(),
        })
    }
    pub fn num_samples(&self) -> usize {
        let _ = &self.b;
        self.n
    }
    pub fn generate(
        &mut self,
        _p: &[u16],
        o: &Options,
        _t: u64,
        mut f: impl FnMut(&TokenInfo) -> bool,
    ) -> Result<Generated> {
        let i = TokenInfo {
            token: 5,
            entropy: 0.0,
            expected_entropy: 0.0,
            mutual_information: 0.0,
            log_prob: 0.0,
        };
        f(&i);
        Ok(Generated {
            tokens: vec![5; o.max_new_tokens],
            info: vec![i],
            rereads: 0,
        })
    }
}
