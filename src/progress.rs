//! How far long work is, for whoever waits for it.
//!
//! Owns what is shown: a bar on a terminal, a line now and then elsewhere, both on stderr, so that the output proper stays
//! clean. Shows and never decides; work goes on where nobody looks.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Time between two looks of a bar.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// Steps of a bar that is not told how many there are.
const FINE: u64 = 1000;

/// How far work is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reached {
    /// From 0 to 1; `None` = nobody knows.
    pub part: Option<f64>,
    /// The same in words.
    pub words: String,
}

/// Whether `stream` may be drawn on: a terminal, and not one that can only take lines.
pub fn is_drawable(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colours are for terminals, and not for everybody: see <https://no-color.org>.
pub fn is_colourful(stream: &impl io::IsTerminal) -> bool {
    is_drawable(stream) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Shows how far work is.
pub struct Progress {
    title: String,
    shown: Shown,
}

enum Shown {
    /// Has no colours, so that there is nothing to leave out for those who want none.
    Bar(ProgressBar),
    Lines(Box<dyn FnMut(&str) + Send>),
}

impl Progress {
    /// On stderr, as is fit for it.
    pub fn on_stderr(title: &str) -> Self {
        if is_drawable(&io::stderr()) {
            let bar = ProgressBar::with_draw_target(Some(FINE), ProgressDrawTarget::stderr());
            Self {
                title: title.to_owned(),
                shown: Shown::Bar(bar),
            }
        } else {
            Self::as_lines(title, |line| {
                // Whoever closed stderr does not want to know.
                let _ = writeln!(io::stderr().lock(), "{line}");
            })
        }
    }

    /// As lines, which `write` takes.
    pub fn as_lines(title: &str, write: impl FnMut(&str) + Send + 'static) -> Self {
        Self {
            title: title.to_owned(),
            shown: Shown::Lines(Box::new(write)),
        }
    }

    /// A way to write to the same terminal meanwhile.
    pub fn aside(&self) -> Aside {
        Aside(match &self.shown {
            Shown::Bar(bar) => Some(bar.clone()),
            Shown::Lines(_) => None,
        })
    }

    /// Does `work`, and shows how far it is by what `look` says.
    pub async fn during<T>(mut self, work: impl Future<Output = T>, mut look: impl FnMut() -> Reached) -> T {
        tokio::pin!(work);
        let pause = match &self.shown {
            Shown::Bar(_) => BETWEEN_LOOKS,
            Shown::Lines(_) => BETWEEN_LINES,
        };
        let mut looks = interval_at(Instant::now() + pause, pause);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begin(&look());
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                _ = looks.tick() => self.show(&look()),
            }
        };
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
        done
    }

    fn begin(&self, reached: &Reached) {
        if let Shown::Bar(bar) = &self.shown {
            // The templates are constants: what cannot be read would be seen in every test.
            let template = if reached.part.is_some() {
                "{prefix} [{bar:30}] {msg} ({elapsed})"
            } else {
                "{prefix} {spinner} {msg} ({elapsed})"
            };
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ")
                .tick_chars("|/-\\ ");
            bar.set_style(style);
            bar.set_prefix(self.title.clone());
            draw(bar, reached);
        }
    }

    fn show(&mut self, reached: &Reached) {
        match &mut self.shown {
            Shown::Lines(write) => write(&format!("{}: {}", self.title, reached.words)),
            Shown::Bar(bar) => draw(bar, reached),
        }
    }
}

fn draw(bar: &ProgressBar, reached: &Reached) {
    bar.set_message(reached.words.clone());
    if let Some(part) = reached.part {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and FINE"
        )]
        bar.set_position((part.clamp(0.0, 1.0) * FINE as f64) as u64);
    }
    bar.tick();
}

/// Writes where a bar may be in the way.
#[derive(Debug, Clone)]
pub struct Aside(Option<ProgressBar>);

impl Aside {
    /// Does `write` while no bar is shown.
    pub fn during<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lines_come_now_and_then_and_none_for_what_is_quick() {
        for (seconds, want) in [
            (9, vec![]),
            (25, vec!["test ecs: after 10s", "test ecs: after 20s"]),
        ] {
            let lines = Arc::new(Mutex::new(Vec::new()));
            let written = Arc::clone(&lines);
            let progress = Progress::as_lines("test ecs", move |line| {
                written.lock().unwrap().push(line.to_owned());
            });
            let begun = Instant::now();
            let work = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                "done"
            };
            let done = progress.during(work, || Reached {
                part: None,
                words: format!("after {:?}", begun.elapsed()),
            });
            assert_eq!(done.await, "done");
            assert_eq!(*lines.lock().unwrap(), want);
        }
    }
}
