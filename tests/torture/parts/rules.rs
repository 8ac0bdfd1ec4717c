//! Each rule on a recording that keeps it, and on one that breaks it.

use std::collections::BTreeMap;

use crate::checker::{Findings, History, Rule, check};
use crate::record::*;

const MS: Micros = 1_000;
const S: Micros = 1_000_000;
/// The clock's zero, seconds since 1970.
const EPOCH: i64 = 1_000;

/// A recording under construction.
struct Tape(Vec<Line>, u64);

impl Tape {
    /// Ten seconds of a cluster that works: `a` leads in term 5 and stores each tick, and one row a second.
    fn well() -> Self {
        let mut tape = Self::of(10);
        for second in 0..10 {
            let at = second * S + 100 * MS;
            tape.leads("a", 5, at);
            tape.send(
                at,
                vec![
                    gauge(5, "a", EPOCH + second as i64),
                    row(5, "a", EPOCH + second as i64),
                ],
            );
        }
        tape
    }

    fn of(seconds: i64) -> Self {
        let setup = Setup {
            cluster: "test".into(),
            seed: 1,
            epoch: EPOCH as Micros * S,
            ttl: 5 * S,
            gauges: vec![Gauge {
                kind: "capacity".into(),
                vdc: None,
                interval: 1,
            }],
            bounds: BTreeMap::from([(Class::Orderly, 250 * MS), (Class::Host, 5_700 * MS)]),
        };
        let records = (0..seconds)
            .map(|second| Record {
                kind: "alert".into(),
                key: format!("urn:{}", EPOCH + second),
                time: EPOCH + second,
                due: second < seconds - 1,
            })
            .collect();
        let mut tape = Self(Vec::new(), 0);
        tape.line(0, What::Setup(setup));
        let truth = Truth {
            from: EPOCH,
            to: EPOCH + seconds,
            records,
        };
        tape.line(seconds as Micros * S + S, What::Truth(truth));
        tape
    }

    fn line(&mut self, at: Micros, what: What) {
        self.0.push(Line { at, what });
    }

    fn send(&mut self, at: Micros, items: Vec<Item>) {
        self.1 += 1;
        let number = self.1;
        self.line(at, What::Send(Send { number, items }));
        self.line(at + MS, What::Answer(Answer { number, given: true }));
    }

    fn probe(&mut self, replica: &str, status: u16, term: Option<u64>, sent: Micros, got: Micros) {
        let probe = Probe {
            replica: replica.into(),
            path: "/leader".into(),
            sent,
            got,
            status,
            term,
            state: String::new(),
        };
        self.line(got, What::Probe(probe));
    }

    fn leads(&mut self, replica: &str, term: u64, at: Micros) {
        self.probe(replica, 200, Some(term), at, at + MS);
    }

    fn strike(&mut self, at: Micros, class: Class, expect: Expect) {
        self.strike_as("test", at, class, expect);
    }

    fn strike_as(&mut self, name: &str, at: Micros, class: Class, expect: Expect) {
        let strike = Strike {
            fault: 1,
            name: name.into(),
            class,
            expect,
            term: 5,
            replica: "a".into(),
        };
        self.line(at, What::Strike(strike));
    }

    fn step(&mut self, at: Micros, step: &str) {
        let fault = Fault {
            number: 1,
            name: "test".into(),
            step: step.into(),
            detail: String::new(),
        };
        self.line(at, What::Fault(fault));
    }

    fn link(&mut self, at: Micros, verb: &str) {
        let link = Link {
            replica: "a".into(),
            target: "output".into(),
            verb: verb.into(),
        };
        self.line(at, What::Link(link));
    }

    fn unable(&mut self, from: Micros, to: Micros) {
        let span = Span {
            from,
            to,
            why: "test".into(),
        };
        self.line(from, What::Unable(span));
    }

    /// Takes out what arrived for which `wanted` does not hold.
    fn keep(&mut self, wanted: impl Fn(&Item) -> bool) {
        for line in &mut self.0 {
            if let What::Send(send) = &mut line.what {
                send.items.retain(&wanted);
            }
        }
    }

    /// The leader of the second half is `b`, in `term`.
    fn handed_over(&mut self, term: u64) {
        for line in &mut self.0 {
            if line.at < 5 * S {
                continue;
            }
            match &mut line.what {
                What::Send(send) => {
                    for item in &mut send.items {
                        (item.term, item.replica) = (Some(term), "b".into());
                    }
                }
                What::Probe(probe) => (probe.term, probe.replica) = (Some(term), "b".into()),
                _ => {}
            }
        }
    }

    fn findings(self) -> Findings {
        // As it would come from a disk.
        let lines = self.0.iter().map(|line| serde_json::to_string(line).unwrap());
        let lines = lines.map(|text| serde_json::from_str(&text).unwrap());
        check(&History::new(lines.collect()).unwrap())
    }

    #[track_caller]
    fn passes(self) -> Findings {
        let findings = self.findings();
        assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
        findings
    }

    #[track_caller]
    fn breaks(self, rule: Rule, text: &str) {
        let findings = self.findings();
        assert!(!findings.violations.is_empty(), "nothing was noticed");
        for violation in &findings.violations {
            assert_eq!(violation.rule, rule, "{violation:?}");
        }
        let told = &findings.violations[0].text;
        assert!(told.contains(text), "{told}");
    }
}

fn item(kind: &str, key: &str, id: String, term: u64, replica: &str, tick: i64) -> Item {
    Item {
        id,
        index: "ecsbeat".into(),
        term: Some(term),
        replica: replica.into(),
        kind: kind.into(),
        vdc: "v".into(),
        tick: Some(tick),
        key: key.into(),
        time: Some(tick),
        failure: false,
        stored: true,
    }
}

fn gauge(term: u64, replica: &str, tick: i64) -> Item {
    item("capacity", "", format!("capacity {tick}"), term, replica, tick)
}

fn row(term: u64, replica: &str, second: i64) -> Item {
    let key = format!("urn:{second}");
    item("alert", &key, format!("id of {key}"), term, replica, second)
}

fn known(mut item: Item) -> Item {
    item.stored = false;
    item
}

#[test]
fn a_cluster_that_works_breaks_no_rule() {
    let findings = Tape::well().passes();
    assert_eq!((findings.records, findings.ticks, findings.sends), (9, 9, 10));
}

#[test]
fn a_recording_that_breaks_off_proves_nothing() {
    let mut tape = Tape::well();
    tape.0.retain(|line| !matches!(line.what, What::Truth(_)));
    tape.breaks(Rule::Alive, "breaks off");
    let mut tape = Tape::well();
    tape.0.retain(|line| !matches!(line.what, What::Setup(_)));
    assert!(History::new(tape.0).is_err());
}

#[test]
fn a_cluster_that_stays_down_and_a_process_that_ends_by_itself_are_told() {
    let mut tape = Tape::well();
    tape.step(3 * S, "unsettled");
    tape.breaks(Rule::Alive, "did not recover");
    let mut tape = Tape::well();
    let died = Process {
        replica: "b".into(),
        step: "died".into(),
        detail: "exit status: 101".into(),
    };
    tape.line(3 * S, What::Process(died));
    tape.breaks(Rule::Alive, "exit status: 101");
}

#[test]
fn fenced_nothing_of_an_older_term_is_stored_after_a_newer_one() {
    let mut tape = Tape::well();
    tape.handed_over(9);
    tape.passes();
    // Refused as known it is harmless, but told.
    let mut tape = Tape::well();
    tape.handed_over(9);
    tape.send(6 * S, vec![known(gauge(5, "a", EPOCH + 4))]);
    assert_eq!(tape.findings().stale_refused, 1);
    let mut tape = Tape::well();
    tape.handed_over(9);
    tape.send(6 * S, vec![item("other", "", "late".into(), 5, "a", EPOCH + 4)]);
    tape.breaks(Rule::Fenced, "900 ms after term 9");
    let mut tape = Tape::well();
    let mut nameless = gauge(5, "a", EPOCH + 20);
    nameless.term = None;
    tape.send(6 * S, vec![nameless]);
    tape.breaks(Rule::Fenced, "does not tell its term");
}

#[test]
fn one_leader_overlapping_answers_prove_nothing() {
    let mut tape = Tape::of(0);
    // `a` was asked before `b` had answered: it may have led before that.
    tape.probe("a", 200, Some(5), 10 * MS, 90 * MS);
    tape.probe("b", 200, Some(9), 20 * MS, 80 * MS);
    tape.probe("a", 503, Some(5), 85 * MS, 95 * MS);
    tape.passes();
}

#[test]
fn one_leader_an_older_term_after_a_newer_one_is_proof() {
    let mut tape = Tape::of(0);
    tape.leads("a", 5, 10 * MS);
    tape.leads("b", 9, 20 * MS);
    tape.leads("a", 5, 40 * MS);
    tape.breaks(Rule::OneLeader, "19 ms after replica b");
    // Also where a third one came between.
    let mut tape = Tape::of(0);
    tape.leads("b", 9, 20 * MS);
    tape.leads("a", 5, 40 * MS);
    tape.leads("c", 12, 60 * MS);
    tape.breaks(Rule::OneLeader, "term 5");
}

#[test]
fn one_leader_also_where_somebody_else_took_the_key_away() {
    let mut tape = Tape::of(0);
    tape.leads("a", 5, 5 * MS);
    tape.strike(10 * MS, Class::Administrator, Expect::Either);
    tape.leads("b", 9, 20 * MS);
    tape.leads("a", 5, 40 * MS);
    tape.breaks(Rule::OneLeader, "after replica b");
}

#[test]
fn one_leader_one_term_belongs_to_one_replica() {
    let mut tape = Tape::of(0);
    tape.leads("a", 5, 10 * MS);
    tape.leads("b", 5, 20 * MS);
    tape.breaks(Rule::OneLeader, "both say");
    let mut tape = Tape::of(0);
    tape.probe("a", 200, None, 10 * MS, 11 * MS);
    tape.breaks(Rule::OneLeader, "without a term");
}

#[test]
fn complete_a_record_that_is_missing_is_told_unless_it_is_not_due() {
    let mut tape = Tape::well();
    tape.keep(|item| item.key != format!("urn:{}", EPOCH + 9));
    tape.passes();
    let mut tape = Tape::well();
    tape.keep(|item| item.key != format!("urn:{}", EPOCH + 3));
    tape.breaks(Rule::Complete, "urn:1003");
    let mut tape = Tape::well();
    tape.send(6 * S, vec![row(5, "a", EPOCH + 500)]);
    tape.breaks(Rule::Complete, "never was");
    // That something could not be polled is no record.
    let mut tape = Tape::well();
    tape.keep(|item| item.key != format!("urn:{}", EPOCH + 3));
    let mut failure = row(5, "a", EPOCH + 3);
    failure.failure = true;
    tape.send(6 * S, vec![failure]);
    tape.breaks(Rule::Complete, "urn:1003");
}

#[test]
fn once_an_id_is_stored_once_and_a_record_under_one_id() {
    let mut tape = Tape::well();
    let mut elsewhere = row(5, "a", EPOCH + 3);
    elsewhere.index = "ecsbeat-next-day".into();
    tape.link(3 * S, "reset");
    tape.link(6 * S, "pass");
    tape.send(6 * S, vec![elsewhere]);
    tape.breaks(Rule::Once, "stored twice");
    let mut tape = Tape::well();
    let mut renamed = row(5, "a", EPOCH + 3);
    renamed.id = "another".into();
    tape.send(6 * S, vec![renamed]);
    tape.breaks(Rule::Once, "two ids");
}

#[test]
fn once_a_resend_within_a_term_needs_a_lost_answer() {
    let again = |tape: &mut Tape| tape.send(6 * S, vec![known(row(5, "a", EPOCH + 3))]);
    let mut tape = Tape::well();
    again(&mut tape);
    tape.breaks(Rule::Once, "had been answered");
    let mut tape = Tape::well();
    again(&mut tape);
    for line in &mut tape.0 {
        if let What::Answer(answer) = &mut line.what {
            answer.given = false;
        }
    }
    tape.passes();
    let mut tape = Tape::well();
    again(&mut tape);
    tape.link(2 * S, "black-hole");
    tape.link(4 * S, "pass");
    tape.passes();
    let mut tape = Tape::well();
    tape.send(
        6 * S,
        vec![gauge(5, "a", EPOCH + 20), known(gauge(5, "a", EPOCH + 20))],
    );
    tape.breaks(Rule::Once, "again in term 5");
}

#[test]
fn once_a_successor_sends_again_only_what_was_in_flight() {
    let mut tape = Tape::well();
    tape.handed_over(9);
    tape.send(
        5 * S + 500 * MS,
        vec![known(row(9, "b", EPOCH + 4)), known(row(9, "b", EPOCH + 3))],
    );
    let findings = tape.passes();
    assert_eq!(findings.resends.len(), 1);
    assert_eq!((findings.resends[0].from, findings.resends[0].to), (5, 9));
    assert_eq!(findings.resends[0].events, 2);
    let mut tape = Tape::well();
    tape.send(9 * S + 500 * MS, vec![known(row(9, "b", EPOCH))]);
    tape.breaks(Rule::Once, "9000 ms before its end");
}

#[test]
fn ticks_one_that_was_possible_is_there() {
    let without = |tick: i64| {
        let mut tape = Tape::well();
        tape.keep(|item| item.kind != "capacity" || item.tick != Some(EPOCH + tick));
        tape
    };
    without(3).breaks(Rule::Ticks, "tick 1003");
    let mut tape = without(3);
    tape.unable(3 * S + 200 * MS, 3 * S + 900 * MS);
    tape.passes();
    // Two spans that overlap excuse no more than they cover.
    let mut tape = without(3);
    tape.unable(3 * S, 3 * S + 400 * MS);
    tape.unable(3 * S + 100 * MS, 3 * S + 400 * MS);
    tape.breaks(Rule::Ticks, "tick 1003");
    let mut tape = without(3);
    let mut failure = gauge(5, "a", EPOCH + 3);
    (failure.failure, failure.id) = (true, "failed".into());
    tape.send(6 * S, vec![failure]);
    tape.breaks(Rule::Ticks, "tick 1003");
}

#[test]
fn ticks_one_is_stored_once() {
    let mut tape = Tape::well();
    let mut doubled = gauge(5, "a", EPOCH + 3);
    doubled.id = "another".into();
    tape.send(6 * S, vec![doubled]);
    tape.breaks(Rule::Ticks, "tick 1003 twice");
}

#[test]
fn takeover_is_measured_and_bounded() {
    let handed_over = |class, expect, struck| {
        let mut tape = Tape::well();
        tape.handed_over(9);
        tape.strike(struck, class, expect);
        tape.step(8 * S, "settled");
        tape
    };
    // The successor is seen after 5.101 s.
    let findings = handed_over(Class::Orderly, Expect::Takeover, 5 * S).passes();
    assert_eq!(findings.takeovers.len(), 1);
    assert_eq!(findings.takeovers[0].leads, Some(101 * MS));
    assert_eq!(findings.takeovers[0].publishes, Some(100 * MS));
    handed_over(Class::Orderly, Expect::Takeover, 4 * S + 800 * MS).breaks(Rule::Takeover, "301 ms");
    handed_over(Class::Host, Expect::Takeover, 4 * S + 800 * MS).passes();
    let mut stalled = handed_over(Class::Orderly, Expect::Takeover, 4 * S + 800 * MS);
    let span = Span {
        from: 4 * S + 900 * MS,
        to: 5 * S,
        why: "test".into(),
    };
    stalled.line(5 * S, What::Stall(span));
    stalled.passes();
}

#[test]
fn takeover_that_does_not_happen_is_told_where_it_must() {
    for expect in [Expect::Takeover, Expect::Either] {
        let mut tape = Tape::well();
        tape.strike(5 * S, Class::Host, expect);
        tape.step(8 * S, "settled");
        match expect {
            Expect::Takeover => tape.breaks(Rule::Takeover, "nobody took over"),
            _ => assert!(tape.passes().takeovers.is_empty()),
        }
    }
    let mut tape = Tape::well();
    tape.handed_over(9);
    let findings = tape.passes();
    assert_eq!(findings.takeovers[0].fault, None, "no fault struck");
}

#[test]
fn member_a_single_one_does_not_change_the_term() {
    let mut tape = Tape::well();
    tape.strike(3 * S, Class::Member, Expect::Same);
    tape.step(8 * S, "settled");
    tape.passes();
    let mut tape = Tape::well();
    tape.handed_over(9);
    tape.strike(3 * S, Class::Member, Expect::Same);
    tape.step(8 * S, "settled");
    tape.breaks(Rule::Member, "from 5 to 9");
}

#[test]
fn member_what_a_paused_one_does_when_it_runs_again_is_counted_and_not_judged() {
    for (resumed, taken) in [(4 * S, 1), (8 * S, 0)] {
        let mut tape = Tape::well();
        tape.handed_over(9);
        tape.strike_as("etcd-pause", 3 * S, Class::Member, Expect::Same);
        tape.step(resumed, "resumed");
        tape.step(9 * S, "settled");
        if taken == 1 {
            assert_eq!(tape.passes().taken_by_etcd, taken);
        } else {
            tape.breaks(Rule::Member, "from 5 to 9");
        }
    }
}
