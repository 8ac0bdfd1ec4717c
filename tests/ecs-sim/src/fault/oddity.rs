//! Unusual but real forms of data, by name, and sets of them. Must never write an answer.

use serde::{Deserialize, Serialize};

/// An unusual form of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// Dashboard fractions in exponent form, `1.2450503E8`.
    Exponents,
    /// Some dashboard values are `N/A`.
    NotAvailable,
    /// Some dashboard values are the empty string.
    EmptyStrings,
    /// Dashboard point lists are empty.
    EmptyArrays,
    /// A third of the dashboard members is missing.
    AbsentKeys,
    /// Some `Current` points are 55 days old.
    StalePoints,
    /// Histories and summaries are one zero stamped now, while `Current` has the value.
    FabricatedZeros,
    /// Two points in each `Current`, the older one first.
    TwoPoints,
    /// Points of histories (and two of `Current`) in no order.
    UnsortedPoints,
    /// Members that no release has yet.
    UnknownKeys,
    /// Byte counts beyond 2^53.
    HugeValues,
    /// Lists under `instances` instead of `_instances`.
    InstancesKey,
    /// Dashboard numbers without quotation marks.
    BareNumbers,
    /// The first node of the list has no `id`.
    NodeWithoutId,

    /// The last page of namespaces has `NextMarker: null`.
    MarkerNull,
    /// The last page of namespaces has no `NextMarker`.
    MarkerAbsent,
    /// The last page of namespaces has an empty `NextMarker`.
    MarkerEmpty,
    /// `NextMarker` is always the same.
    MarkerLoop,
    /// A namespace comes and one goes between the first page and the next.
    NamespacesChange,

    /// Alerts are wrapped once more: `alerts.alert`.
    WrappedAlerts,
    /// `symptomCode` is a number.
    SymptomNumber,
    /// Audit events are stamped to the second.
    SecondStamps,
    /// An empty list of events or alerts is `{}`.
    EmptyObject,
    /// An empty list of events or alerts is `null`.
    NullList,
    /// A list of one is the object itself.
    SingleObject,
    /// Each page repeats the last row of the page before.
    RepeatedRows,

    /// Billing rows in another order than asked.
    ReorderedRows,
    /// Every third billing row is missing.
    MissingRows,
    /// `valid_namespace` is `false` for every third namespace.
    InvalidNamespaces,
    /// `valid_namespace` is the namespace's name.
    ValidNamespaceName,
    /// Billing sizes as numbers.
    SizeNumbers,
    /// Billing sizes as strings.
    SizeStrings,
    /// Billing answers 200 with nothing.
    EmptyBilling,
    /// Capacity is wrapped in `cluster_capacity`, its numbers are strings.
    WrappedCapacity,

    /// Flux finds nothing.
    FluxNull,
    /// Flux columns in another order.
    FluxPermuted,
    /// Flux rows in several series.
    FluxMultiSeries,
    /// The newest Flux rows are half an hour old.
    FluxStale,
    /// Flux rows from outside the range asked for.
    FluxOutOfRange,

    /// Lines in the ownership dump that are none.
    DtJunkLines,
    /// The ownership dump ends without a newline.
    DtNoFinalNewline,
    /// Some tables have no owner.
    DtUnowned,
    /// Tables with errors, several in one element, blanks between.
    DtErrors,
    /// The items of the ping in another order.
    PingReordered,
    /// The ping says `UNKNOWN`.
    PingUnknown,
}

/// A set of oddities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Oddities(u64);

// === impl Oddities ===

impl Oddities {
    pub(crate) fn add(&mut self, oddity: Oddity) {
        self.0 |= 1 << oddity as u64;
    }

    pub(crate) fn has(self, oddity: Oddity) -> bool {
        self.0 & (1 << oddity as u64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_added() {
        let mut set = Oddities::default();
        set.add(Oddity::Exponents);
        set.add(Oddity::PingUnknown);
        assert!(set.has(Oddity::Exponents) && set.has(Oddity::PingUnknown) && !set.has(Oddity::TwoPoints));
        assert!((Oddity::PingUnknown as u64) < 64);
    }
}
