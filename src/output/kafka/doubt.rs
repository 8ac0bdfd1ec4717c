//! Whom a refusal is meant for.
//!
//! Owns the doubt about it. A broker takes or refuses what it got at once for a partition as a whole, and which message
//! of it was at fault is not always told: brokers before 2.4 do not say, and where it was one message only librdkafka
//! gives its error to all of them. What was got at once cannot be seen from here either. So a refusal is believed of a
//! message that was alone in its partition; everything else is sent again, in smaller parts where nothing else is left.

use std::collections::HashMap;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::verdict::Fate;

/// What one partition was sent.
#[derive(Debug, Default)]
struct Together {
    messages: usize,
    is_in_doubt: bool,
}

/// Ends the doubt about messages that were alone. `places` are the topic and the partition of each.
pub(super) fn settle(fates: &mut [Fate], places: &[(&str, i32)]) {
    let mut partitions: HashMap<(&str, i32), Together> = HashMap::new();
    for (fate, place) in fates.iter().zip(places) {
        let together = partitions.entry(*place).or_default();
        // What the client itself refused was not sent with the others.
        together.messages += usize::from(!matches!(fate, Fate::Refused(_)));
        together.is_in_doubt |= matches!(fate, Fate::InDoubt(_));
    }
    for (fate, place) in fates.iter_mut().zip(places) {
        let Some(together) = partitions.get(place) else {
            continue;
        };
        // Of a broker that names none of those it was sent: to believe it would be to send the same for ever.
        if *fate == Fate::Spared && !together.is_in_doubt {
            *fate = Fate::InDoubt(Code::InvalidDifferentRecord);
        }
        if let Fate::InDoubt(code) = *fate
            && together.messages == 1
        {
            *fate = Fate::Refused(code);
        }
    }
}

/// Whether it is, or may be, what the others were refused for.
pub(super) fn is_suspect(fate: &Fate) -> bool {
    matches!(fate, Fate::Refused(_) | Fate::InDoubt(_))
}

/// Whether nothing has come to its end and sending the same again would tell as little: smaller parts tell more.
pub(super) fn is_everywhere(fates: &[Fate]) -> bool {
    let is_in_doubt = |fate: &Fate| matches!(fate, Fate::InDoubt(_) | Fate::Spared);
    !fates.is_empty() && fates.iter().all(is_in_doubt)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TIMESTAMP: Fate = Fate::InDoubt(Code::InvalidTimestamp);
    const REFUSED: Fate = Fate::Refused(Code::InvalidTimestamp);

    fn settled<const N: usize>(sent: [(Fate, &str, i32); N]) -> Vec<Fate> {
        let places = sent.each_ref().map(|(_, topic, partition)| (*topic, *partition));
        let mut fates: Vec<Fate> = sent.into_iter().map(|(fate, _, _)| fate).collect();
        settle(&mut fates, &places);
        fates
    }

    #[test]
    fn one_that_was_alone_in_its_partition_is_refused() {
        let large = Fate::InDoubt(Code::MessageSizeTooLarge);
        assert_eq!(settled([(TIMESTAMP, "a", 0)]), [REFUSED]);
        assert_eq!(
            settled([
                (TIMESTAMP, "a", 0),
                (Fate::Arrived, "a", 1),
                (large, "b", 0),
                (Fate::Arrived, "a", 1),
            ]),
            [
                REFUSED,
                Fate::Arrived,
                Fate::Refused(Code::MessageSizeTooLarge),
                Fate::Arrived
            ]
        );
    }

    #[test]
    fn nobody_is_refused_for_what_others_may_have_done() {
        for other in [
            TIMESTAMP,
            Fate::Spared,
            Fate::Arrived,
            Fate::Failed(Code::PurgeQueue),
            Fate::Failed(Code::MessageTimedOut),
        ] {
            assert_eq!(
                settled([(TIMESTAMP, "a", 3), (other.clone(), "a", 3)]),
                [TIMESTAMP, other]
            );
        }
    }

    #[test]
    fn what_was_not_sent_does_not_count_as_company() {
        let large = Fate::Refused(Code::MessageSizeTooLarge);
        assert_eq!(
            settled([(large.clone(), "a", 0), (TIMESTAMP, "a", 0)]),
            [large, REFUSED]
        );
    }

    #[test]
    fn an_answer_that_spares_everybody_comes_to_an_end() {
        let nonsense = Code::InvalidDifferentRecord;
        assert_eq!(settled([(Fate::Spared, "a", 0)]), [Fate::Refused(nonsense)]);
        let fates = settled([(Fate::Spared, "a", 0), (Fate::Spared, "a", 0)]);
        assert_eq!(fates, [Fate::InDoubt(nonsense), Fate::InDoubt(nonsense)]);
        assert!(is_everywhere(&fates));
        // Another partition is another matter.
        assert_eq!(
            settled([(TIMESTAMP, "a", 1), (Fate::Spared, "a", 0)]),
            [REFUSED, Fate::Refused(nonsense)]
        );
    }

    #[test]
    fn smaller_parts_are_for_when_nothing_else_is_left() {
        assert!(is_everywhere(&[TIMESTAMP, TIMESTAMP]));
        assert!(is_everywhere(&[TIMESTAMP, Fate::Spared]));
        assert!(!is_everywhere(&[]));
        for other in [Fate::Arrived, REFUSED, Fate::Failed(Code::NotEnoughReplicas)] {
            assert!(!is_everywhere(&[TIMESTAMP, other]));
        }
    }

    /// A broker, as librdkafka tells of it.
    struct Broker {
        bad: BTreeSet<usize>,
        /// It says which messages were at fault.
        tells: bool,
        /// How many messages of a partition it gets at once.
        at_once: usize,
        partitions: usize,
        /// How often it was sent to.
        times: usize,
    }

    impl Broker {
        fn send(&mut self, sent: &[usize]) -> Vec<Fate> {
            self.times += 1;
            let partition = |number: &usize| number % self.partitions;
            let mut fates = vec![Fate::Arrived; sent.len()];
            for own in 0..self.partitions {
                let places: Vec<usize> = (0..sent.len())
                    .filter(|place| partition(&sent[*place]) == own)
                    .collect();
                for places in places.chunks(self.at_once) {
                    let is_bad = |place: &usize| self.bad.contains(&sent[*place]);
                    let bad = places.iter().filter(|place| is_bad(place)).count();
                    for place in places {
                        let error = match (bad, self.tells && bad > 1, is_bad(place)) {
                            (0, ..) => None,
                            (_, false, _) => Some(Code::InvalidTimestamp),
                            (_, true, true) => Some(Code::InvalidRecord),
                            (_, true, false) => Some(Code::InvalidDifferentRecord),
                        };
                        fates[*place] = Fate::of(error);
                    }
                }
            }
            let places: Vec<(&str, i32)> = sent
                .iter()
                .map(|number| ("a", i32::try_from(partition(number)).unwrap()))
                .collect();
            settle(&mut fates, &places);
            fates
        }

        /// A batch that counts as a whole, without what is suspect.
        fn transact(&mut self, batch: &[usize]) -> Vec<Fate> {
            let mut fates: Vec<Option<Fate>> = vec![None; batch.len()];
            loop {
                let left: Vec<usize> = (0..batch.len()).filter(|place| fates[*place].is_none()).collect();
                if left.is_empty() {
                    break;
                }
                let sent = self.send(&left.iter().map(|place| batch[*place]).collect::<Vec<_>>());
                if sent.iter().all(|fate| *fate == Fate::Arrived) {
                    break;
                }
                assert!(sent.iter().any(is_suspect), "the same would go again: {sent:?}");
                for (place, fate) in left.into_iter().zip(sent) {
                    if is_suspect(&fate) {
                        fates[place] = Some(fate);
                    }
                }
            }
            let fates = fates.into_iter();
            fates.map(|fate| fate.unwrap_or(Fate::Arrived)).collect()
        }

        /// Everything, as the publisher sends it: who arrived, and who was refused.
        fn publish(&mut self, messages: usize, transactional: bool) -> [BTreeSet<usize>; 2] {
            let [mut arrived, mut refused] = [BTreeSet::new(), BTreeSet::new()];
            let mut parcels = vec![(0..messages).collect::<Vec<usize>>()];
            while let Some(mut parcel) = parcels.pop() {
                let fates = if transactional {
                    self.transact(&parcel)
                } else {
                    self.send(&parcel)
                };
                if is_everywhere(&fates) {
                    assert!(parcel.len() > 1, "one cannot be halved");
                    let second = parcel.split_off(parcel.len() / 2);
                    parcels.extend([second, parcel]);
                    continue;
                }
                let mut left = Vec::new();
                for (number, fate) in parcel.into_iter().zip(fates) {
                    match fate {
                        Fate::Arrived => assert!(arrived.insert(number), "{number} arrived twice"),
                        Fate::Refused(_) => assert!(refused.insert(number), "{number} was refused twice"),
                        Fate::InDoubt(_) | Fate::Spared => left.push(number),
                        Fate::Failed(code) => panic!("{code}"),
                    }
                }
                if !left.is_empty() {
                    parcels.push(left);
                }
            }
            [arrived, refused]
        }
    }

    #[test]
    fn in_the_end_the_bad_ones_are_refused_and_all_others_arrive() {
        const MESSAGES: usize = 64;
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..400 {
            let bad: BTreeSet<usize> = (0..round % 5).map(|_| random.usize(..MESSAGES)).collect();
            let (tells, transactional) = (random.bool(), random.bool());
            let mut broker = Broker {
                bad: bad.clone(),
                tells,
                at_once: random.usize(1..=MESSAGES),
                partitions: random.usize(1..=4),
                times: 0,
            };
            let [arrived, refused] = broker.publish(MESSAGES, transactional);
            let case = format!("tells {tells}, transactional {transactional}, bad {bad:?}");
            assert_eq!(refused, bad, "{case}");
            assert_eq!(arrived.len(), MESSAGES - bad.len(), "{case}");
            // Halving finds one among 64 in six steps, of three tries at most: one that is refused, what gets on without
            // it, and the other half.
            let most = 2 + 18 * bad.len();
            assert!(broker.times <= most, "{case}: {} tries", broker.times);
        }
    }

    #[test]
    fn a_batch_of_nothing_but_bad_ones_comes_to_an_end() {
        for tells in [true, false] {
            for transactional in [true, false] {
                let mut broker = Broker {
                    bad: (0..64).collect(),
                    tells,
                    at_once: 64,
                    partitions: 1,
                    times: 0,
                };
                let [arrived, refused] = broker.publish(64, transactional);
                assert_eq!((arrived.len(), refused.len()), (0, 64));
                assert!(broker.times <= 300, "{}", broker.times);
            }
        }
    }
}
