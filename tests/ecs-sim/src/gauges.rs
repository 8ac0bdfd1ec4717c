//! The figures behind the dashboards: space, health and rates of disks, nodes and VDCs at an instant. Totals
//! are sums of their parts and obey the identities of the real thing; must never format anything.

use crate::seed::{mix, of_name};
use crate::topology::{Node, NodeState, Vdc};

/// How often dashboard values move, in seconds.
pub(crate) const STEP: i64 = 60;
const DISK_BYTES: u64 = 8_000_000_000_000;
/// Allocated space of such a disk is odd and beyond 2^53; no `f64` holds it.
const HUGE: u64 = 50_000_000_000_000_010;

/// Space in bytes. `total` is `allocated` + `reserved` + free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) allocated: u64,
    pub(crate) reserved: u64,
    pub(crate) offline: u64,
}

/// How many are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) all: usize,
    pub(crate) good: usize,
    pub(crate) bad: usize,
    pub(crate) maintenance: usize,
}

/// Garbage of one kind, in bytes. `detected` is the sum of the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Garbage {
    pub(crate) pending: u64,
    pub(crate) reclaimed: u64,
    pub(crate) unreclaimable: u64,
}

/// The world of one seed at one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) seed: u64,
    /// Sizes beyond 2^53.
    pub(crate) huge: bool,
}

// === impl Space ===

impl Space {
    pub(crate) fn free(self) -> u64 {
        self.total - self.allocated - self.reserved
    }

    fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            allocated: self.allocated + other.allocated,
            reserved: self.reserved + other.reserved,
            offline: self.offline + other.offline,
        }
    }
}

impl std::iter::Sum for Space {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Self::plus)
    }
}

// === impl Counts ===

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            good: self.good + other.good,
            bad: self.bad + other.bad,
            maintenance: self.maintenance + other.maintenance,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Self::plus)
    }
}

// === impl Garbage ===

impl Garbage {
    pub(crate) fn detected(self) -> u64 {
        self.pending + self.reclaimed + self.unreclaimable
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            pending: self.pending + other.pending,
            reclaimed: self.reclaimed + other.reclaimed,
            unreclaimable: self.unreclaimable + other.unreclaimable,
        }
    }
}

// === impl Gauges ===

impl Gauges {
    /// A number below `bound` that belongs to `what` and moves with the time.
    pub(crate) fn draw(self, what: u64, at: i64, bound: u64) -> u64 {
        mix(&[self.seed, what, at.div_euclid(STEP).cast_unsigned()]) % bound.max(1)
    }

    pub(crate) fn disk(self, node: &Node, slot: usize, at: i64) -> Space {
        let is_huge = self.huge && slot == 0;
        let total = if is_huge { HUGE } else { DISK_BYTES };
        let hash = mix(&[self.seed, node.serial, slot as u64]);
        let base = total / 100 * (20 + hash % 40);
        let step = at.div_euclid(STEP).cast_unsigned();
        let grown = (step % 100_000) * (1 + hash % 977) * 1024;
        let reserved = total / 10;
        let allocated = (base + grown + u64::from(is_huge)).min(total - reserved);
        let offline = if self.is_bad_disk(node, slot) { total } else { 0 };
        Space {
            total,
            allocated,
            reserved,
            offline,
        }
    }

    pub(crate) fn node(self, node: &Node, at: i64) -> Space {
        (0..node.disks).map(|slot| self.disk(node, slot, at)).sum()
    }

    pub(crate) fn vdc(self, vdc: &Vdc, at: i64) -> Space {
        vdc.nodes.iter().map(|node| self.node(node, at)).sum()
    }

    /// One disk in about forty.
    pub(crate) fn is_bad_disk(self, node: &Node, slot: usize) -> bool {
        mix(&[self.seed, 0xbad, node.serial, slot as u64]).is_multiple_of(41)
    }

    pub(crate) fn disks_of_node(self, node: &Node) -> Counts {
        let bad = (0..node.disks)
            .filter(|slot| self.is_bad_disk(node, *slot))
            .count();
        Counts {
            all: node.disks,
            good: node.disks - bad,
            bad,
            maintenance: 0,
        }
    }

    pub(crate) fn disks_of_vdc(self, vdc: &Vdc) -> Counts {
        vdc.nodes.iter().map(|node| self.disks_of_node(node)).sum()
    }

    pub(crate) fn garbage(self, vdc: &Vdc, what: u64, at: i64) -> Garbage {
        let draw = |salt: u64, bound| self.draw(what ^ salt ^ of_name(&vdc.id), at, bound);
        Garbage {
            pending: draw(1, 1 << 34),
            reclaimed: draw(2, 1 << 38),
            unreclaimable: draw(3, 1 << 30),
        }
    }
}

/// The states of a VDC's nodes.
pub(crate) fn nodes(vdc: &Vdc) -> Counts {
    let count = |state| vdc.nodes.iter().filter(|node| node.state == state).count();
    Counts {
        all: vdc.nodes.len(),
        good: count(NodeState::Up),
        bad: 0,
        maintenance: count(NodeState::Maintenance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::topology::Topology;

    #[test]
    fn wholes_are_the_sums_of_their_parts() {
        let topology = Topology::new(&Config::for_tests());
        for huge in [false, true] {
            let gauges = Gauges { seed: 1, huge };
            let vdc = &topology.vdcs[0];
            let at = 1_772_448_060;
            let whole = gauges.vdc(vdc, at);
            let parts: Space = vdc.nodes.iter().map(|node| gauges.node(node, at)).sum();
            assert_eq!(whole, parts);
            assert_eq!(whole.total, whole.allocated + whole.reserved + whole.free());
            assert!(whole.allocated > 0 && (!huge || whole.total > 1 << 53));
            assert!(gauges.vdc(vdc, at + 600).allocated > whole.allocated);
        }
        let gauges = Gauges { seed: 1, huge: false };
        let counts = gauges.disks_of_vdc(&topology.vdcs[0]);
        assert_eq!(counts.all, counts.good + counts.bad);
    }
}
