//! The series of the certificates that this process shows: until when each is valid.
//!
//! Owns [`CertificateMetrics`]. They are read from their files once, at the start, as the process itself reads them: what
//! is on disk since then is not what is shown.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::{Registry, Unit};

use super::metrics_ha::seconds;
use super::snapshot::Snapshot;

/// Labels of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CertificateLabels {
    /// The key of the configuration that names it.
    pub setting: String,
}

/// What is told of each certificate.
#[derive(Debug, Clone, Default)]
pub struct CertificateMetrics {
    not_after: Snapshot<CertificateLabels>,
}

impl CertificateMetrics {
    /// All series, registered below `root`, which has no prefix.
    pub(super) fn register(root: &mut Registry) -> Self {
        let metrics = Self::default();
        root.sub_registry_with_prefix("ecsbeat").register_with_unit(
            "certificate_not_after_timestamp",
            "When a certificate that this process shows, or one of its chain, expires",
            Unit::Seconds,
            metrics.not_after.clone(),
        );
        metrics
    }

    /// These are all: a setting and when what it names expires.
    pub fn tell(&self, certificates: impl IntoIterator<Item = (String, Timestamp)>) {
        let told = certificates.into_iter();
        let told = told.map(|(setting, until)| (CertificateLabels { setting }, seconds(until)));
        self.not_after.tell(told.collect());
    }
}
