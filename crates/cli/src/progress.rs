//! Progress: bars on a terminal, plain lines elsewhere, always on standard error.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use skep_registry::transfer;

use crate::args;
use crate::output;

/// How often a plain line may come.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// Shows how far a command is.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    quiet: bool,
    phase: Mutex<Option<Phase>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Bars,
    Lines,
    None,
}

#[derive(Debug)]
struct Phase {
    name: &'static str,
    total: u64,
    done: u64,
    bar: Option<ProgressBar>,
    said: Instant,
    said_tenths: u64,
}

impl Progress {
    pub(crate) fn new(global: &args::Global) -> Self {
        let style = match global.progress {
            _ if global.quiet => Style::None,
            args::Progress::Auto if global.json => Style::None,
            args::Progress::Auto if std::io::stderr().is_terminal() => Style::Bars,
            args::Progress::Auto | args::Progress::Lines => Style::Lines,
            args::Progress::Bars => Style::Bars,
            args::Progress::None => Style::None,
        };
        Self { style, quiet: global.quiet || global.json, phase: Mutex::new(None) }
    }

    /// Tells how far a phase is, in bytes; a new name begins a new phase. A total of 0 is not known.
    pub(crate) fn report(&self, name: &'static str, done: u64, total: u64) {
        let Ok(mut current) = self.phase.lock() else { return };
        if self.style == Style::None {
            return;
        }
        if current.as_ref().is_none_or(|phase| phase.name != name) {
            if let Some(phase) = current.take() {
                phase.finish();
            }
            *current = Some(Phase::begin(name, total, self.style));
        }
        if let Some(phase) = current.as_mut() {
            phase.advance(done, total);
        }
    }

    /// Something that is told of each part of a transfer; the total is in bytes, and 0 when it is not known.
    pub(crate) fn watch(self: &Arc<Self>, name: &'static str, total: u64) -> transfer::Progress {
        let (progress, done) = (self.clone(), AtomicU64::new(0));
        Arc::new(move |bytes| progress.report(name, done.fetch_add(bytes, Ordering::Relaxed) + bytes, total))
    }

    /// Ends the phase that is shown and says a line for people, unless they want none.
    pub(crate) fn say(&self, line: &str) {
        self.clear();
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// Takes away what is shown.
    pub(crate) fn clear(&self) {
        if let Ok(mut current) = self.phase.lock()
            && let Some(phase) = current.take()
        {
            phase.finish();
        }
    }
}

impl Phase {
    fn begin(name: &'static str, total: u64, style: Style) -> Self {
        let bar = (style == Style::Bars).then(|| {
            let bar = ProgressBar::with_draw_target(Some(total.max(1)), ProgressDrawTarget::stderr_with_hz(8));
            let template = "{prefix:>8} {bar:32} {percent:>3}%  {bytes}/{total_bytes}  {bytes_per_sec}  eta {eta}";
            bar.set_style(ProgressStyle::with_template(template).expect("a well-formed template"));
            bar.set_prefix(name);
            bar
        });
        Self { name, total, done: 0, bar, said: Instant::now(), said_tenths: 0 }
    }

    fn advance(&mut self, done: u64, total: u64) {
        (self.done, self.total) = (done, total);
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(done).max(1));
            bar.set_position(done);
            return;
        }
        // A line for each tenth, but none for what takes no time.
        let tenths = if total == 0 { 0 } else { u128::from(done) * 10 / u128::from(total) } as u64;
        let waited = self.said.elapsed();
        if waited >= LINE_INTERVAL || (tenths > self.said_tenths && waited >= Duration::from_secs(2)) {
            eprintln!("{}: {}", self.name, self.words());
            (self.said, self.said_tenths) = (Instant::now(), tenths);
        }
    }

    fn words(&self) -> String {
        if self.total == 0 {
            return output::size(self.done);
        }
        format!("{} of {}", output::size(self.done), output::size(self.total))
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
