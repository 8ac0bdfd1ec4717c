//! How dashboard members are written: scalars as strings, series as lists of points, and all the oddities that
//! concern them. Must never know which members an object has.

use std::fmt::{self, Display, Write as _};

use crate::api::Ask;
use crate::fault::{Oddities, Oddity};
use crate::gauges::{Gauges, STEP};
use crate::json::{Arr, Obj};
use crate::seed::{mix, of_name};

const STALE_BY: i64 = 55 * 86_400;
const HISTORY_POINTS: i64 = 120;
const HISTORY_STEP: i64 = 3600;
const MAX_POINTS: i64 = 1500;

/// A number of a dashboard.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Fraction(f64),
}

/// The writer of one answer's points.
pub(super) struct Points<'a> {
    pub(super) ask: &'a Ask<'a>,
    pub(super) gauges: Gauges,
    /// The time of the newest point.
    pub(super) at: i64,
    current: bool,
    history: bool,
    from: i64,
    step: i64,
    oddities: Oddities,
}

struct Shown {
    value: Value,
    exponent: bool,
}

// === impl Shown ===

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Value::Whole(number) if self.exponent && number > 10_000_000 => write!(f, "{:E}", number as f64),
            Value::Whole(number) => write!(f, "{number}"),
            Value::Fraction(number) if self.exponent => write!(f, "{number:E}"),
            Value::Fraction(number) => write!(f, "{number:?}"),
        }
    }
}

// === impl Points ===

impl<'a> Points<'a> {
    pub(super) fn new(ask: &'a Ask<'a>) -> Self {
        let query = &ask.request.query;
        let both = !query.has("dataType");
        let asked = |name| both || query.all("dataType").any(|value| value == name);
        let at = ask.now.div_euclid(STEP) * STEP;
        let number = |key| query.get(key).and_then(|text| text.parse::<i64>().ok());
        let step = number("interval").unwrap_or(HISTORY_STEP).clamp(60, 366 * 86_400);
        let from = number("startTime").unwrap_or(at - (HISTORY_POINTS - 1) * step);
        Self {
            ask,
            gauges: ask.federation.gauges(ask.has(Oddity::HugeValues)),
            at,
            current: asked("current"),
            history: asked("historical"),
            from: from.clamp(at - MAX_POINTS * step, at),
            step,
            oddities: ask.oddities,
        }
    }

    fn has(&self, oddity: Oddity) -> bool {
        self.oddities.has(oddity)
    }

    /// One key in three, always the same ones.
    fn is_picked(key: &str, salt: u64) -> bool {
        mix(&[of_name(key), salt]).is_multiple_of(3)
    }

    fn is_absent(&self, key: &str) -> bool {
        self.has(Oddity::AbsentKeys) && Self::is_picked(key, 1)
    }

    fn quote(&self, o: &mut Obj<'_>, key: &str, value: Value) {
        let shown = Shown {
            value,
            exponent: self.has(Oddity::Exponents),
        };
        if self.has(Oddity::NotAvailable) && Self::is_picked(key, 2) {
            o.text(key, "N/A");
        } else if self.has(Oddity::EmptyStrings) && Self::is_picked(key, 3) {
            o.text(key, "");
        } else if self.has(Oddity::BareNumbers) {
            o.raw(key, shown);
        } else {
            o.quoted(key, shown);
        }
    }

    /// A member that is one number.
    pub(super) fn scalar(&self, o: &mut Obj<'_>, key: &str, value: Value) {
        if !self.is_absent(key) {
            self.quote(o, key, value);
        }
    }

    pub(super) fn count(&self, o: &mut Obj<'_>, key: &str, value: usize) {
        self.scalar(o, key, Value::Whole(value as u64));
    }

    fn point(&self, l: &mut Arr<'_>, at: i64, tag: &str, value: Value, oddly: bool) {
        l.object(|o| {
            if self.has(Oddity::BareNumbers) {
                o.raw("t", at);
            } else {
                o.quoted("t", at);
            }
            if oddly {
                self.quote(o, tag, value);
            } else {
                o.quoted(
                    tag,
                    Shown {
                        value,
                        exponent: self.has(Oddity::Exponents),
                    },
                );
            }
        });
    }

    /// A member with the latest value, whatever its name.
    pub(super) fn latest(&self, o: &mut Obj<'_>, key: &str, tag: &str, value: Value) {
        if self.is_absent(key) {
            return;
        }
        let is_stale = self.has(Oddity::StalePoints) && Self::is_picked(key, 4);
        let at = if is_stale { self.at - STALE_BY } else { self.at };
        let is_odd = self.oddities != Oddities::default() && Self::is_picked(key, 5);
        o.array(key, |l| {
            if self.has(Oddity::EmptyArrays) && Self::is_picked(key, 6) {
                return;
            }
            let older = |l: &mut Arr<'_>| {
                let value = match value {
                    Value::Whole(number) => Value::Whole(number - number / 5),
                    Value::Fraction(number) => Value::Fraction(number * 0.8),
                };
                self.point(l, at - 300, tag, value, is_odd);
            };
            let two = self.has(Oddity::TwoPoints);
            let newest_first = self.has(Oddity::UnsortedPoints);
            if two && !newest_first {
                older(l);
            }
            self.point(l, at, tag, value, is_odd);
            if two && newest_first {
                older(l);
            }
        });
    }

    /// `<family>Current<tier>`, when asked for.
    pub(super) fn current(&self, o: &mut Obj<'_>, family: &str, tier: &str, tag: &str, value: Value) {
        if self.current {
            self.latest(o, &format!("{family}Current{tier}"), tag, value);
        }
    }

    /// `<family>Current` that holds nothing.
    pub(super) fn none(&self, o: &mut Obj<'_>, family: &str) {
        if self.current && !self.is_absent(family) {
            o.array(&format!("{family}Current"), |_| {});
        }
    }

    /// `<family><tier>`, `<family>Current<tier>` and `<family>Summary`, as far as asked for; `past` gives the
    /// value of the history, which is not always that of `Current`.
    pub(super) fn family(
        &self,
        o: &mut Obj<'_>,
        family: &str,
        tier: &str,
        tag: &str,
        now: Value,
        past: impl Fn(i64) -> Value,
    ) {
        self.current(o, family, tier, tag, now);
        if !self.history {
            return;
        }
        let key = format!("{family}{tier}");
        if self.has(Oddity::FabricatedZeros) {
            let zero = |l: &mut Arr<'_>| self.point(l, self.ask.now, tag, Value::Whole(0), false);
            o.array(&key, zero);
            if tier.is_empty() {
                self.summary(
                    o,
                    family,
                    tag,
                    (self.ask.now, Value::Whole(0)),
                    (self.ask.now, Value::Whole(0)),
                );
            }
            return;
        }
        let mut times = self.times();
        let ends = (
            times.first().copied().unwrap_or(self.at),
            times.last().copied().unwrap_or(self.at),
        );
        if self.has(Oddity::UnsortedPoints) {
            times.sort_by_key(|time| mix(&[time.cast_unsigned()]));
        }
        o.array(&key, |l| {
            for time in times {
                self.point(l, time, tag, past(time), false);
            }
        });
        if tier.is_empty() {
            self.summary(o, family, tag, (ends.0, past(ends.0)), (ends.1, past(ends.1)));
        }
    }

    fn times(&self) -> Vec<i64> {
        let end = self
            .ask
            .request
            .query
            .get("endTime")
            .and_then(|text| text.parse().ok())
            .unwrap_or(self.at);
        let count = ((end.clamp(0, self.at.max(0)) - self.from) / self.step + 1).clamp(0, MAX_POINTS);
        (0..count).map(|number| self.from + number * self.step).collect()
    }

    fn summary(&self, o: &mut Obj<'_>, family: &str, tag: &str, low: (i64, Value), high: (i64, Value)) {
        o.object(&format!("{family}Summary"), |o| {
            o.array("Min", |l| self.point(l, low.0, tag, low.1, false));
            o.array("Max", |l| self.point(l, high.0, tag, high.1, false));
            let mean = f64::midpoint(low.1.as_f64(), high.1.as_f64());
            let mut text = String::new();
            let _ = write!(text, "{mean:E}");
            o.text("Avg", &text);
        });
    }

    /// A rate that moves with the time, in hundredths below `bound`.
    pub(super) fn rate(&self, what: u64, at: i64, bound: u64) -> Value {
        Value::Fraction(self.gauges.draw(what, at, bound * 100) as f64 / 100.0)
    }

    /// Members that no release has yet.
    pub(super) fn unknown(&self, o: &mut Obj<'_>) {
        if self.has(Oddity::UnknownKeys) {
            self.current(o, "quantumFlux", "", "Furlongs", Value::Fraction(7.5));
            o.text("newScalar", "new");
            o.object("newObject", |o| {
                o.array("deep", |l| l.object(|o| o.text("newer", "1")));
            });
        }
    }
}

// === impl Value ===

impl Value {
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Fraction(number) => number,
        }
    }
}
