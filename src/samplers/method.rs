//! The list of sampling methods. A new one is its own file and a line here.

use super::{Scheme, baoa, ccadl, sghmc, sghmc_euler, sgld, sglrw, sgnht, sgnht_ding, sgnht_euler};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident => $scheme:path,)*) => {
        /// A sampling method, by name. What it does, it asks its [`Scheme`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Method {
            $($(#[$doc])* $variant,)*
        }

        impl Method {
            /// All methods.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];

            /// Returns the scheme that the method follows.
            pub fn scheme(self) -> &'static dyn Scheme {
                match self {
                    $(Self::$variant => &$scheme,)*
                }
            }
        }
    };
}

methods! {
    /// Stochastic gradient Langevin dynamics: [`sgld`].
    Sgld => sgld::Sgld,
    /// Stochastic gradient Hamiltonian Monte Carlo with the gradient at the new position: [`sghmc`].
    Sghmc => sghmc::Sghmc,
    /// Stochastic gradient Hamiltonian Monte Carlo by explicit Euler, as other programs have it: [`sghmc_euler`].
    SghmcEuler => sghmc_euler::SghmcEuler,
    /// The BAOA splitting of Langevin dynamics: [`baoa`].
    Baoa => baoa::Baoa,
    /// Stochastic gradient Nosé-Hoover thermostat by the BADODAB splitting (adaptive Langevin dynamics): [`sgnht`].
    Sgnht => sgnht::Sgnht,
    /// Covariance-controlled adaptive Langevin thermostat: [`ccadl`].
    Ccadl => ccadl::Ccadl,
    /// Stochastic gradient Nosé-Hoover thermostat as Ding et al. have it: [`sgnht_ding`].
    SgnhtDing => sgnht_ding::SgnhtDing,
    /// Stochastic gradient Nosé-Hoover thermostat by explicit Euler, as posteriors has it: [`sgnht_euler`].
    SgnhtEuler => sgnht_euler::SgnhtEuler,
    /// Stochastic gradient lattice random walk: [`sglrw`].
    Sglrw => sglrw::Sglrw,
}

impl Method {
    /// Returns the names of all methods, in the order of [`Method::ALL`].
    pub fn names() -> [&'static str; Self::ALL.len()] {
        Self::ALL.map(Self::name)
    }

    /// Returns the name in flags, options and files.
    pub fn name(self) -> &'static str {
        self.scheme().name()
    }

    /// Returns what the method is, in one line.
    pub fn description(self) -> &'static str {
        self.scheme().description()
    }

    /// Returns whether the state has momenta.
    pub fn has_momenta(self) -> bool {
        self.scheme().has_momenta()
    }

    /// Returns whether the state has a thermostat.
    pub fn has_thermostat(self) -> bool {
        self.scheme().has_thermostat()
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|m| m.name() == name);
        found.ok_or_else(|| {
            let expected = format!("one of {}", Self::names().join(", "));
            Error::out_of_range("method", expected, name)
        })
    }
}
