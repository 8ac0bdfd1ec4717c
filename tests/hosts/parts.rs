//! The parts of a run: their names, what is done in them, and which of them every run of the tests does.

use crate::faults::Kind;

/// A part of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Every run of the tests does it.
    pub(crate) core: bool,
    pub(crate) what: What,
}

/// What a part does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// Faults, one after the other, to a cluster with an etcd of so many members.
    Faults(u8, &'static [Kind]),
    /// What is in the image, and what is not.
    Image,
    /// The compose file.
    Compose,
}

/// All of them, in their order.
pub(crate) const PARTS: [Part; 5] = [
    Part {
        name: "hosts_three_members",
        core: true,
        what: What::Faults(3, Kind::CORE),
    },
    Part {
        name: "hosts_image",
        core: false,
        what: What::Image,
    },
    Part {
        name: "hosts_compose",
        core: false,
        what: What::Compose,
    },
    Part {
        name: "hosts_three_members_more",
        core: false,
        what: What::Faults(3, Kind::MORE),
    },
    Part {
        name: "hosts_single_member",
        core: false,
        what: What::Faults(1, Kind::SINGLE),
    },
];
