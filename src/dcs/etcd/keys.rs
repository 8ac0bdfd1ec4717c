//! The part of etcd's keys that belongs to one cluster.
//!
//! Owns the prefix `<prefix>/<cluster>/`: put in front of every key that goes to etcd, taken off every key that comes
//! back. No key leaves here without it.

/// `<prefix>/<cluster>/`
#[derive(Debug, Clone)]
pub(super) struct Base(String);

impl Base {
    pub(super) fn new(prefix: &str, cluster: &str) -> Self {
        Self(format!("{}/{cluster}/", prefix.trim_end_matches('/')))
    }

    /// The whole key in etcd.
    pub(super) fn whole(&self, key: &str) -> String {
        format!("{}{key}", self.0)
    }

    /// The key relative to the cluster. Ours are all UTF-8; what somebody else put there is made so.
    pub(super) fn relative(&self, whole: &[u8]) -> String {
        let relative = whole.strip_prefix(self.0.as_bytes()).unwrap_or(whole);
        String::from_utf8_lossy(relative).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_there_and_back() {
        for prefix in ["/ecsbeat", "/ecsbeat/"] {
            let base = Base::new(prefix, "prod");
            assert_eq!(base.whole("members/a"), "/ecsbeat/prod/members/a");
            assert_eq!(base.relative(b"/ecsbeat/prod/members/a"), "members/a");
        }
        // A cluster whose name begins like another one's does not see its keys.
        let base = Base::new("/ecsbeat", "prod");
        assert!(!"/ecsbeat/prod2/leader".starts_with(&base.whole("")));
    }
}
