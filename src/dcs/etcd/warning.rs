//! What an administrator should know of the etcd cluster.
//!
//! Owns [`Warning`], its wording, and when there is reason for one. Only tells; nothing here keeps anybody from
//! working.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::survey::{Survey, Surveyed};

/// A database above this many hundredths of its quota is worth a warning.
const LARGE_PERCENT: u64 = 50;

/// Something that an administrator should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Warning {
    /// A member does not answer.
    Silent {
        /// Which.
        endpoint: Arc<str>,
        /// Why.
        reason: String,
    },
    /// A release that may end leases too early, or say that a lease lives which does not.
    LeaseBugs {
        /// Which.
        endpoint: Arc<str>,
        /// Its release.
        found: String,
        /// The first one without these bugs.
        needed: &'static str,
    },
    /// The database may soon be full, and nothing can be written then.
    LargeDatabase {
        /// Whose.
        endpoint: Arc<str>,
        /// Hundredths of the quota.
        percent: u64,
        /// Bytes.
        quota: u64,
    },
    /// A member has an error or an alarm.
    Unwell {
        /// Which.
        endpoint: Arc<str>,
        /// In its own words.
        error: String,
    },
    /// The hosts do not all belong to one cluster: two instances could lead.
    SeveralClusters {
        /// Each host and its cluster.
        hosts: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { endpoint, reason } => write!(f, "{endpoint}: {reason}"),
            Self::LeaseBugs {
                endpoint,
                found,
                needed,
            } => write!(
                f,
                "{endpoint}: etcd {found} has known lease bugs, by which two instances could lead; needed is {needed}"
            ),
            Self::LargeDatabase {
                endpoint,
                percent,
                quota,
            } => write!(
                f,
                "{endpoint}: its database fills {percent} % of the {} MiB it may have; a full one takes no writes, so \
                 nobody could lead. Compaction is off in etcd by default: start it with \
                 --auto-compaction-mode=periodic --auto-compaction-retention=1h, then `etcdctl defrag`",
                quota / 1024 / 1024
            ),
            Self::Unwell { endpoint, error } => write!(f, "{endpoint}: {error}"),
            Self::SeveralClusters { hosts } => write!(
                f,
                "ha.etcd.hosts belong to several etcd clusters, so that two instances could lead: {hosts}"
            ),
        }
    }
}

impl Survey {
    /// What an administrator should know.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings: Vec<Warning> = self.0.iter().flat_map(of_member).collect();
        let ids: BTreeSet<u64> = self.answered().map(|(_, state)| state.cluster).collect();
        if ids.len() > 1 {
            let hosts: Vec<String> = self
                .answered()
                .map(|(endpoint, state)| format!("{endpoint} to {:x}", state.cluster))
                .collect();
            warnings.push(Warning::SeveralClusters {
                hosts: hosts.join(", "),
            });
        }
        warnings
    }
}

fn of_member(one: &Surveyed) -> Vec<Warning> {
    let endpoint = || Arc::clone(&one.endpoint);
    let state = match &one.state {
        Ok(state) => state,
        Err(reason) => {
            return vec![Warning::Silent {
                endpoint: endpoint(),
                reason: reason.clone(),
            }];
        }
    };
    let mut warnings = Vec::new();
    if let Some(needed) = state.outdated() {
        warnings.push(Warning::LeaseBugs {
            endpoint: endpoint(),
            found: state.version.clone(),
            needed,
        });
    }
    let percent = state.database.saturating_mul(100) / state.quota.max(1);
    if percent > LARGE_PERCENT {
        warnings.push(Warning::LargeDatabase {
            endpoint: endpoint(),
            percent,
            quota: state.quota,
        });
    }
    warnings.extend(state.errors.iter().map(|error| Warning::Unwell {
        endpoint: endpoint(),
        error: error.clone(),
    }));
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::survey::{DEFAULT_QUOTA, MemberState};
    use super::*;

    fn member(endpoint: &str, version: &str, database: u64, cluster: u64) -> Surveyed {
        Surveyed {
            endpoint: endpoint.into(),
            state: Ok(MemberState {
                version: version.to_owned(),
                database,
                used: database,
                quota: DEFAULT_QUOTA,
                cluster,
                member: 1,
                raft_leader: 1,
                errors: Vec::new(),
            }),
        }
    }

    fn warnings(member: Surveyed) -> Vec<String> {
        Survey(vec![member])
            .warnings()
            .iter()
            .map(Warning::to_string)
            .collect()
    }

    #[test]
    fn releases_with_lease_bugs_are_named_with_what_is_needed() {
        for (version, needed) in [
            ("3.4.23", Some("3.5.23")),
            ("3.4.40", Some("3.5.23")),
            ("3.5.22", Some("3.5.23")),
            ("3.5.23", None),
            ("3.5.30", None),
            ("3.6.0-rc.1", Some("3.6.5")),
            ("3.6.4", Some("3.6.5")),
            ("3.6.5", None),
            ("3.7.0", None),
            ("4.0.0", None),
            ("unknown", None),
        ] {
            let told = warnings(member("http://a:2379", version, 0, 1));
            match needed {
                None => assert_eq!(told, [""; 0], "{version}"),
                Some(needed) => {
                    let [told] = &told[..] else {
                        panic!("{version}: {told:?}")
                    };
                    assert!(
                        told.contains("known lease bugs") && told.contains(version) && told.ends_with(needed),
                        "{told}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_database_above_half_its_quota_is_told_with_what_to_do() {
        let half = DEFAULT_QUOTA / 2;
        assert_eq!(warnings(member("http://a:2379", "3.5.30", half, 1)), [""; 0]);
        let told = warnings(member("http://a:2379", "3.5.30", half + half / 2, 1));
        assert!(
            told[0].contains("75 % of the 2048 MiB") && told[0].contains("--auto-compaction-retention"),
            "{told:?}"
        );
    }

    #[test]
    fn hosts_of_two_clusters_are_told() {
        let one = Survey(vec![
            member("http://a:2379", "3.5.30", 0, 0xab),
            member("http://b:2379", "3.5.30", 0, 0xab),
        ]);
        assert_eq!((one.cluster(), one.warnings()), (Some(0xab), Vec::new()));
        let two = Survey(vec![
            member("http://a:2379", "3.5.30", 0, 0xab),
            member("http://b:2379", "3.5.30", 0, 0xcd),
        ]);
        assert_eq!(two.cluster(), None);
        let told = two.warnings()[0].to_string();
        assert!(
            told.ends_with("http://a:2379 to ab, http://b:2379 to cd"),
            "{told}"
        );
    }

    #[test]
    fn a_member_that_says_nothing_and_one_that_is_unwell_are_told() {
        let silent = Surveyed {
            endpoint: "http://a:2379".into(),
            state: Err("no answer within 1s".to_owned()),
        };
        assert_eq!(warnings(silent), ["http://a:2379: no answer within 1s"]);
        let mut unwell = member("http://a:2379", "3.5.30", 0, 1);
        if let Ok(state) = &mut unwell.state {
            state.errors = vec!["memberID:1 alarm:NOSPACE".to_owned()];
        }
        assert_eq!(warnings(unwell), ["http://a:2379: memberID:1 alarm:NOSPACE"]);
    }
}
