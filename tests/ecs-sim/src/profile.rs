//! Releases of ECS and how they differ. Must hold facts only; the answers are written elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release of ECS or ObjectScale that a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Profile {
    /// ECS 2.2: lists under `instances`, addresses as node ids.
    #[serde(rename = "2.2")]
    V2_2,
    /// ECS 3.1: performance fields on the dashboards, integer billing sizes.
    #[serde(rename = "3.1")]
    V3_1,
    /// ECS 3.6: performance fields gone, Flux there.
    #[serde(rename = "3.6")]
    V3_6,
    /// ECS 3.8.0: checks the `Host` header when told names, Flux with the range bug.
    #[serde(rename = "3.8.0")]
    V3_8_0,
    /// ECS Community Edition 3.8.1: Flux answers 503.
    #[serde(rename = "3.8.1ce")]
    V3_8_1Ce,
    /// ObjectScale 4.1: port 9101 closed.
    #[serde(rename = "4.1")]
    V4_1,
    /// ObjectScale 4.3.
    #[default]
    #[serde(rename = "4.3")]
    V4_3,
}

/// What a release makes of a Flux query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flux {
    Absent,
    RangeBug,
    Unavailable,
    Works,
}

// === impl Profile ===

impl Profile {
    /// All profiles, oldest first.
    pub const ALL: [Self; 7] = [
        Self::V2_2,
        Self::V3_1,
        Self::V3_6,
        Self::V3_8_0,
        Self::V3_8_1Ce,
        Self::V4_1,
        Self::V4_3,
    ];

    /// The name by which configurations call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2_2 => "2.2",
            Self::V3_1 => "3.1",
            Self::V3_6 => "3.6",
            Self::V3_8_0 => "3.8.0",
            Self::V3_8_1Ce => "3.8.1ce",
            Self::V4_1 => "4.1",
            Self::V4_3 => "4.3",
        }
    }

    /// The version that a node reports.
    pub fn version(self) -> &'static str {
        match self {
            Self::V2_2 => "2.2.1.0.77706.493e577",
            Self::V3_1 => "3.1.0.2.96155.0a1f3e2",
            Self::V3_6 => "3.6.2.1.124410.1c4b2d0e5a7",
            Self::V3_8_0 => "3.8.0.3.138685.5b0c7d1e2f3",
            Self::V3_8_1Ce => "3.8.1.4.140200.8103892f11b",
            Self::V4_1 => "4.1.0.0.141500.3f2e1d0c9b8",
            Self::V4_3 => "4.3.0.0.142978.ab620a08b0b8",
        }
    }

    /// Node CPU, memory, network, transactions and rebalancing on the dashboards.
    pub(crate) fn has_performance_fields(self) -> bool {
        self < Self::V3_6
    }

    /// Dashboard ids of nodes are their addresses.
    pub(crate) fn has_address_ids(self) -> bool {
        self == Self::V2_2
    }

    /// Addresses of the separated networks in the inventory.
    pub(crate) fn has_networks(self) -> bool {
        self >= Self::V3_1
    }

    /// `label`, `psnt` and `data2_ip` in the inventory, quotas in numbers of objects.
    pub(crate) fn is_at_least_3_6(self) -> bool {
        self >= Self::V3_6
    }

    pub(crate) fn is_objectscale(self) -> bool {
        self >= Self::V4_1
    }

    /// Multi-part and deletion members of billing answers.
    pub(crate) fn has_long_billing(self) -> bool {
        self >= Self::V3_8_1Ce
    }

    /// Billing sizes are whole numbers, rounded to the nearest.
    pub(crate) fn has_whole_sizes(self) -> bool {
        self < Self::V3_6
    }

    /// The single-namespace billing answer gives the size as a number.
    pub(crate) fn has_number_sizes(self) -> bool {
        self < Self::V3_8_1Ce
    }

    /// Port 9101 can be reached from outside.
    pub(crate) fn has_open_diagnostics(self) -> bool {
        self < Self::V4_1
    }

    /// Refuses hosts that are not on the list of accepted names.
    pub(crate) fn checks_host(self) -> bool {
        self == Self::V3_8_0 || self.is_objectscale()
    }

    /// With separated networks, port 9101 is on the private one.
    pub(crate) fn has_private_diagnostics(self) -> bool {
        self >= Self::V3_8_0
    }

    /// Billing sizes are under `total_size_in_gb`.
    pub(crate) fn has_sizes_in_gb(self) -> bool {
        self == Self::V2_2
    }

    pub(crate) fn flux(self) -> Flux {
        match self {
            Self::V2_2 | Self::V3_1 => Flux::Absent,
            Self::V3_8_0 => Flux::RangeBug,
            Self::V3_8_1Ce => Flux::Unavailable,
            Self::V3_6 | Self::V4_1 | Self::V4_3 => Flux::Works,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|profile| profile.name()).collect();
                format!("unknown profile {text}; known are {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
            assert!(
                profile
                    .version()
                    .starts_with(profile.name().trim_end_matches("ce"))
            );
        }
        assert!("9.9".parse::<Profile>().is_err());
    }
}
