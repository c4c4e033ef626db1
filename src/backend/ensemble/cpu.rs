//! An ensemble on the CPU: each member's layer weights as panels, and the rest flat.

use super::EnsembleLayout;
use crate::backend::cpu::Cpu;
use crate::backend::cpu::gemm::Panels;
use crate::backend::linear::Linear;
use crate::backend::ops::EnsembleOps;
use crate::error::Result;
use crate::memory;
use std::ops::Range;

/// The parameters of several models of one shape.
pub struct Ensemble {
    members: Vec<Member>,
    flat: Vec<(Range<usize>, usize)>, // pieces of the models' flat vector, and where each begins in `Member::flat`
    weights: Vec<usize>,              // where each layer's weight begins in the models' flat vector
}

struct Member {
    flat: Vec<f32>,
    panels: Vec<Panels>,
}

impl Ensemble {
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns where a tensor lies in what every member keeps flat.
    pub fn place(&self, range: &Range<usize>) -> Range<usize> {
        let i = self.flat.partition_point(|(r, _)| r.end <= range.start);
        let (piece, at) = &self.flat[i];
        let start = at + range.start - piece.start;
        start..start + range.len()
    }

    /// Returns a member's tensor at a [`Ensemble::place`].
    pub fn tensor(&self, member: usize, place: &Range<usize>) -> &[f32] {
        &self.members[member].flat[place.clone()]
    }

    /// Returns the index of a layer.
    ///
    /// # Panics
    /// Panics when the ensemble does not have the layer.
    pub fn layer(&self, layer: &Linear) -> usize {
        let is = |&start: &usize| start == layer.weight.start;
        let at = self.weights.iter().position(is);
        at.expect("a layer of the ensemble")
    }

    /// Returns a member's weight of the layer with this index.
    pub fn panels(&self, member: usize, layer: usize) -> &Panels {
        &self.members[member].panels[layer]
    }
}

impl EnsembleOps for Cpu {
    fn ensemble(&self, samples: Vec<Vec<f32>>, layout: EnsembleLayout<'_>) -> Result<Ensemble> {
        let flat = layout.flat.iter().scan(0, |at, r| {
            let start = *at;
            *at += r.len();
            Some((r.clone(), start))
        });
        let members = samples.into_iter().map(|params| {
            let pack = |l: &Linear| {
                Panels::new(
                    self.isa,
                    &params[l.weight.clone()],
                    l.n_out,
                    l.n_in,
                    layout.form,
                )
            };
            Ok(Member {
                panels: layout.layers.iter().map(pack).collect::<Result<_>>()?,
                flat: {
                    let n = layout.flat.iter().map(Range::len).sum();
                    let mut flat = memory::room(n, "an ensemble's flat parameters")?;
                    for r in layout.flat {
                        flat.extend_from_slice(&params[r.clone()]);
                    }
                    flat
                },
            })
        });
        Ok(Ensemble {
            members: members.collect::<Result<_>>()?,
            flat: flat.collect(),
            weights: layout.layers.iter().map(|l| l.weight.start).collect(),
        })
    }
}
