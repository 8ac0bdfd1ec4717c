//! What happens in one run: the replicas, their clocks, the network, and the faults.
//!
//! Owns how all of that is drawn from a seed. A schedule is plain data, so that it can be made smaller and printed.

use std::time::Duration;

use fastrand::Rng;

use super::dice::{Use, between, chance, dice, millis};

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) timers: Timers,
    pub(super) hosts: Vec<Plan>,
    /// How much too fast the clock of etcd's first raft leader is, parts in a million.
    pub(super) etcd_ppm: i32,
    pub(super) weather: Weather,
    /// In the order of time.
    pub(super) faults: Vec<(Duration, Fault)>,
    /// Nothing but what operators do in order: handovers must be quick.
    pub(super) calm: bool,
    /// Pauses may hit between the gate's check and the send. Nothing in the process can prevent what comes of it.
    pub(super) gap: bool,
}

/// `ha.*`
#[derive(Debug, Clone, Copy)]
pub(super) struct Timers {
    pub(super) ttl: Duration,
    pub(super) loop_wait: Duration,
    pub(super) retry_timeout: Duration,
    pub(super) safety_margin: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) lock_delay: Duration,
    pub(super) yield_after: Option<Duration>,
    pub(super) refuse_mismatch: bool,
}

/// A replica.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// How much too fast its clock is, parts in a million.
    pub(super) ppm: i32,
    /// What its clock shows at the beginning.
    pub(super) offset: Duration,
    pub(super) priority: u32,
    /// Stands for `config_hash`.
    pub(super) config: u8,
    /// Remembers its lease and term over restarts.
    pub(super) remembers: bool,
}

/// How the network fares while there are faults, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Weather {
    pub(super) request_lost: u32,
    pub(super) answer_lost: u32,
    /// Arrives long after it was given up.
    pub(super) late: u32,
    pub(super) hint_lost: u32,
    /// Some milliseconds become hundreds.
    pub(super) slow: u32,
}

impl Weather {
    /// Whether nothing is lost or late.
    pub(super) fn is_fine(self) -> bool {
        self.request_lost + self.answer_lost + self.late + self.hint_lost + self.slow == 0
    }
}

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Host(usize),
    /// Whoever has the leader key at that time.
    Leader,
}

/// How the end of a pause is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woke {
    AtOnce,
    Late(Duration),
    Never,
}

/// Which way a partition cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Both,
    Requests,
    Answers,
}

/// Something happens.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Crash {
        target: Target,
        down: Duration,
    },
    Stop {
        target: Target,
        down: Duration,
    },
    Pause {
        target: Target,
        length: Duration,
        woke: Woke,
    },
    Partition {
        target: Target,
        length: Duration,
        cut: Cut,
        /// What is sent meanwhile arrives afterwards.
        held: bool,
    },
    ChangeRaftLeader {
        outage: Duration,
        ppm: i32,
    },
    EtcdDown {
        length: Duration,
        ppm: i32,
    },
    RevokeLease(Target),
    DeleteLeader,
    DeleteMember(Target),
    ClockJump {
        target: Target,
        seconds: i64,
    },
    /// `candidate` is meant modulo the number of replicas.
    Switchover {
        asked: Target,
        candidate: Option<usize>,
    },
    StepDown(Target),
    PauseCluster(Target),
    ResumeCluster(Target),
    /// Another process with the name of this replica.
    Twin {
        of: usize,
        length: Duration,
    },
    Stall(Target),
    Blind {
        target: Target,
        length: Duration,
    },
}

impl Fault {
    /// How long it goes on.
    pub(super) fn length(&self) -> Duration {
        match *self {
            Self::Crash { down, .. } | Self::Stop { down, .. } => down,
            Self::Pause { length, woke, .. } => match woke {
                Woke::Late(late) => length + late,
                _ => length,
            },
            Self::Partition { length, .. }
            | Self::EtcdDown { length, .. }
            | Self::Twin { length, .. }
            | Self::Blind { length, .. } => length,
            Self::ChangeRaftLeader { outage, .. } => outage,
            _ => Duration::ZERO,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Schedule {
    /// The run of a seed.
    pub(super) fn draw(seed: u64) -> Self {
        let rng = &mut dice(seed, Use::Schedule, [0; 3]);
        let calm = chance(rng, 8);
        let timers = timers(rng);
        let count = match rng.u32(0..100) {
            0..70 => 3,
            70..80 => 2,
            80..85 => 1,
            _ => 5,
        };
        let hosts = plans(rng, count, calm);
        let mut schedule = Self {
            seed,
            timers,
            etcd_ppm: 0,
            hosts,
            weather: if calm { Weather::default() } else { weather(rng) },
            faults: Vec::new(),
            calm,
            gap: false,
        };
        schedule.etcd_ppm = schedule.etcd_rate(rng);
        if calm {
            schedule.draw_orderly(rng);
        } else {
            schedule.draw_faults(rng);
        }
        schedule
    }

    /// When everything heals.
    pub(super) fn quiet_at(&self) -> Duration {
        let ends = self.faults.iter().map(|(at, fault)| *at + fault.length());
        ends.max().unwrap_or_default() + SECOND
    }

    fn draw_faults(&mut self, rng: &mut Rng) {
        let most = if chance(rng, 20) { 14 } else { 7 };
        let mut at = millis(rng, 0, 4000);
        for _ in 0..rng.u32(1..=most) {
            let fault = self.draw_fault(rng);
            let length = fault.length();
            self.faults.push((at, fault));
            // Some at once, some while the one before lasts, some after it.
            at += match rng.u32(0..10) {
                0..3 => millis(rng, 0, 30),
                3..6 => between(rng, Duration::ZERO, length.max(SECOND)),
                _ => between(rng, Duration::ZERO, self.timers.ttl),
            };
            if at > 30 * SECOND {
                break;
            }
        }
    }

    fn draw_orderly(&mut self, rng: &mut Rng) {
        let mut at = 4 * SECOND;
        for _ in 0..rng.u32(1..=3) {
            at += between(rng, 2 * self.timers.ttl, 2 * self.timers.ttl + 3 * SECOND);
            let fault = match rng.u32(0..4) {
                0 => Fault::Switchover {
                    asked: target(rng, self.hosts.len()),
                    candidate: chance(rng, 50).then(|| rng.usize(0..8)),
                },
                1 => Fault::StepDown(Target::Leader),
                _ => Fault::Stop {
                    target: Target::Leader,
                    down: millis(rng, 100, 5000),
                },
            };
            self.faults.push((at, fault));
        }
    }

    fn draw_fault(&self, rng: &mut Rng) -> Fault {
        let ttl = self.timers.ttl;
        let target = target(rng, self.hosts.len());
        match rng.u32(0..100) {
            0..14 => Fault::Crash {
                target,
                down: millis(rng, 0, 8000),
            },
            14..24 => Fault::Stop {
                target,
                down: millis(rng, 0, 5000),
            },
            24..42 => Fault::Pause {
                target,
                length: between(rng, ttl / 2, ttl * 3).min(20 * SECOND),
                woke: match rng.u32(0..3) {
                    0 => Woke::Never,
                    1 => Woke::Late(millis(rng, 1, 2000)),
                    _ => Woke::AtOnce,
                },
            },
            42..56 => Fault::Partition {
                target,
                length: between(rng, SECOND / 5, ttl * 2),
                cut: *rng
                    .choice(&[Cut::Both, Cut::Both, Cut::Requests, Cut::Answers])
                    .unwrap_or(&Cut::Both),
                held: chance(rng, 30),
            },
            56..63 => Fault::ChangeRaftLeader {
                outage: millis(rng, 100, 2500),
                ppm: self.etcd_rate(rng),
            },
            63..67 => Fault::EtcdDown {
                length: if chance(rng, 30) {
                    millis(rng, 10_000, 40_000)
                } else {
                    millis(rng, 500, 10_000)
                },
                ppm: self.etcd_rate(rng),
            },
            67..71 => Fault::RevokeLease(target),
            71..74 => Fault::DeleteLeader,
            74..76 => Fault::DeleteMember(target),
            76..78 => Fault::ClockJump {
                target,
                seconds: rng.i64(-4000..4000),
            },
            78..86 => Fault::Switchover {
                asked: target,
                candidate: chance(rng, 60).then(|| rng.usize(0..8)),
            },
            86..89 => Fault::StepDown(target),
            89..92 => Fault::PauseCluster(target),
            92..94 => Fault::ResumeCluster(target),
            94..96 => Fault::Twin {
                of: rng.usize(0..self.hosts.len()),
                length: millis(rng, 500, 20_000),
            },
            96..97 => Fault::Stall(target),
            _ => Fault::Blind {
                target,
                length: millis(rng, 500, 8000),
            },
        }
    }

    /// A rate of etcd's clock: within a tenth of every replica's, and of the true one.
    fn etcd_rate(&self, rng: &mut Rng) -> i32 {
        let rates = || self.hosts.iter().map(|host| 1_000_000 + host.ppm);
        let fastest = rates().max().unwrap_or(1_000_000);
        let slowest = rates().min().unwrap_or(1_000_000);
        let most = (slowest / 10 * 11).min(1_100_000);
        let least = (fastest / 11 * 10 + 10).max(900_000);
        match rng.u32(0..4) {
            0 => most - 1_000_000,
            1 => least - 1_000_000,
            _ => rng.i32(least..=most) - 1_000_000,
        }
    }
}

fn target(rng: &mut Rng, hosts: usize) -> Target {
    if chance(rng, 50) {
        Target::Leader
    } else {
        Target::Host(rng.usize(0..hosts))
    }
}

fn timers(rng: &mut Rng) -> Timers {
    let ms = Duration::from_millis;
    let (ttl, loop_wait, retry_timeout) = if chance(rng, 60) {
        (ms(10_000), ms(3000), ms(3000))
    } else {
        (ms(5000), ms(1000), ms(1500))
    };
    let lock_delay = if chance(rng, 15) {
        millis(rng, 1, 2000)
    } else {
        Duration::ZERO
    };
    Timers {
        ttl,
        loop_wait,
        retry_timeout,
        safety_margin: SECOND,
        drain_timeout: if chance(rng, 80) { ms(3000) } else { ms(200) },
        lock_delay,
        yield_after: chance(rng, 15).then(|| ms(1000)),
        refuse_mismatch: chance(rng, 10),
    }
}

fn plans(rng: &mut Rng, count: usize, calm: bool) -> Vec<Plan> {
    let mixed = !calm && chance(rng, 20);
    let weights = chance(rng, 15);
    let spread = if chance(rng, 20) { 0 } else { 50_000 };
    (0..count)
        .map(|index| Plan {
            ppm: rng.i32(-spread..=spread),
            offset: Duration::from_secs(rng.u64(10..100_000)),
            priority: match rng.u32(0..3) {
                0 if weights && index > 0 => 0,
                1 if weights => 2,
                _ => 1,
            },
            config: u8::from(mixed && chance(rng, 30)),
            remembers: chance(rng, 60),
        })
        .collect()
}

fn weather(rng: &mut Rng) -> Weather {
    match rng.u32(0..10) {
        0..4 => Weather::default(),
        4..8 => Weather {
            request_lost: rng.u32(0..5),
            answer_lost: rng.u32(0..8),
            late: rng.u32(0..6),
            hint_lost: rng.u32(0..30),
            slow: rng.u32(0..20),
        },
        _ => Weather {
            request_lost: rng.u32(0..25),
            answer_lost: rng.u32(0..25),
            late: rng.u32(0..20),
            hint_lost: rng.u32(0..100),
            slow: rng.u32(0..60),
        },
    }
}
