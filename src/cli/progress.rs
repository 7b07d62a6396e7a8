//! What happens during a run, to bars on a terminal, plain lines in a pipe, or JSON lines for machines.
//!
//! Invariant: all of it goes to standard error; standard output is for results.

use crate::exec::progress::{Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// Bars on a terminal, lines elsewhere
    #[default]
    Auto,
    /// One line per task
    Plain,
    /// One JSON object per event
    Json,
}

/// Shows events as they come.
pub struct Progress {
    start: Instant,
    state: Mutex<State>,
}

struct State {
    bars: Option<Bars>,
    json: bool,
    tasks: usize,
    done: usize,
    ran: usize,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    running: HashMap<String, ProgressBar>,
}

impl Progress {
    pub fn new(style: Style) -> Progress {
        let bars = style == Style::Auto && std::io::stderr().is_terminal();
        let state = State { bars: bars.then(Bars::new), json: style == Style::Json, tasks: 0, done: 0, ran: 0 };
        Progress { start: Instant::now(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how it went and clears the bars.
    pub fn finish(&self) {
        let mut state = self.lock();
        if let Some(bars) = state.bars.take() {
            bars.total.finish_and_clear();
            bars.running.into_values().for_each(|bar| bar.finish_and_clear());
        }
        let (tasks, ran) = (state.tasks, state.ran);
        let took = self.start.elapsed();
        match state.json {
            true => print_json(json!({ "event": "end", "tasks": tasks, "ran": ran, "ms": milliseconds(took) })),
            false if ran > 0 => state.line(&format!("{ran} of {tasks} tasks run in {}", seconds(took))),
            false => {}
        }
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        let mut state = self.lock();
        if state.json {
            if let Some(value) = to_json(event) {
                print_json(value);
            }
        }
        state.show(event);
    }
}

impl State {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Planned { tasks } => {
                (self.tasks, self.done, self.ran) = (*tasks, 0, 0);
                self.count();
            }
            Event::Cached { .. } => self.finished(),
            Event::Started { task } => self.begin(task, task),
            Event::Finished { task, took } => {
                self.end(task);
                self.finished();
                self.ran += 1;
                let line = format!("[{}/{}] {task} {}", self.done, self.tasks, seconds(*took));
                self.line(&line);
            }
            Event::Waiting { task } => self.line(&format!("{task}: it is being made already; waiting")),
            Event::Failed { task } => {
                self.end(task);
                self.line(&format!("{task} failed"));
            }
            Event::Stopped { task } => self.end(task),
            Event::FetchStarted { name, digest } => self.begin(&digest.hex(), &format!("fetch {name}")),
            Event::Fetching { name, digest, bytes } => {
                if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.running.get(&digest.hex())) {
                    let (got, all) = (bytes >> 10, digest.size_bytes >> 10);
                    bar.set_message(format!("fetch {name}: {got} of {all} KiB"));
                }
            }
            Event::Fetched { name, digest } => {
                self.end(&digest.hex());
                self.line(&format!("fetched {name}"));
            }
            Event::Repairing { task } => self.line(&format!("{task}: lost from the cache; making it again")),
            Event::Kept { task, folder } => {
                self.line(&format!("{task}: what it left is kept in `{}`", folder.display()));
            }
        }
    }

    fn finished(&mut self) {
        self.done += 1;
        self.count();
    }

    fn count(&self) {
        if let Some(bars) = &self.bars {
            bars.total.set_length(self.tasks as u64);
            bars.total.set_position(self.done as u64);
        }
    }

    fn begin(&mut self, key: &str, text: &str) {
        if let Some(bars) = &mut self.bars {
            let bar = bars.all.add(ProgressBar::new_spinner()).with_message(text.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bars.running.insert(key.to_owned(), bar);
        }
    }

    fn end(&mut self, key: &str) {
        if let Some(bar) = self.bars.as_mut().and_then(|bars| bars.running.remove(key)) {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bars {
            // A terminal that has gone away must not end the build.
            Some(bars) => drop(bars.all.println(text)),
            None if !self.json => drop(writeln!(std::io::stderr(), "{text}")),
            None => {}
        }
    }
}

impl Bars {
    fn new() -> Bars {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} tasks, {elapsed}");
        let total = all.add(ProgressBar::new(0).with_style(style.expect("a valid template")));
        Bars { all, total, running: HashMap::new() }
    }
}

fn to_json(event: &Event) -> Option<serde_json::Value> {
    Some(match event {
        Event::Planned { tasks } => json!({ "event": "planned", "tasks": tasks }),
        Event::Cached { task } => json!({ "event": "cached", "task": task }),
        Event::Started { task } => json!({ "event": "started", "task": task }),
        Event::Finished { task, took } => json!({ "event": "finished", "task": task, "ms": milliseconds(*took) }),
        Event::Waiting { task } => json!({ "event": "waiting", "task": task }),
        Event::Failed { task } => json!({ "event": "failed", "task": task }),
        Event::Stopped { task } => json!({ "event": "stopped", "task": task }),
        Event::FetchStarted { name, digest } => {
            json!({ "event": "fetching", "name": name, "sha256": digest.hex(), "size_bytes": digest.size_bytes })
        }
        Event::Fetching { .. } => return None,
        Event::Fetched { name, digest } => json!({ "event": "fetched", "name": name, "sha256": digest.hex() }),
        Event::Repairing { task } => json!({ "event": "repairing", "task": task }),
        Event::Kept { task, folder } => {
            json!({ "event": "kept", "task": task, "folder": folder.display().to_string() })
        }
    })
}

fn print_json(value: serde_json::Value) {
    // As with lines: nobody listening is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{value}");
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// `0.42 s`, `34.1 s`, `5 min 12 s`.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..=9 => format!("{:.2} s", time.as_secs_f64()),
        10..=119 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}
