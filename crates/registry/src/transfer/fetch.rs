//! Fetching: the missing bytes of a blob by several requests at once, each gone on with where it broke.
//!
//! A segment is what one request asks for. Parts of all running segments come out in no order, and the one
//! who takes them says how far ahead segments may begin. There is no task: dropping the fetch ends it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::body::Body;
use crate::descriptor::Descriptor;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::transfer::Place;
use crate::transfer::download::DownloadOptions;
use crate::transfer::retry::Patience;

/// Requests for the missing bytes of a blob.
pub(super) struct Fetch {
    source: Arc<Source>,
    /// What no segment asks for yet, in order.
    gaps: VecDeque<Range<u64>>,
    running: FuturesUnordered<BoxFuture<'static, (Segment, Event)>>,
    ranging: Ranging,
    /// Segments that may run now.
    limit: usize,
    connections: usize,
    pace: Pace,
    attempts: u32,
}

/// Bytes of a blob, and where they belong.
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) len: u64,
    pub(super) bytes: Vec<Bytes>,
}

impl Part {
    pub(super) fn range(&self) -> Range<u64> {
        self.at..self.at + self.len
    }
}

/// What is known of how the registry treats ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ranging {
    Unknown,
    /// It sends what it is asked for.
    Served,
    /// It sends the whole blob, so one request at a time is enough.
    Ignored,
    /// It wants to be asked for the whole blob.
    Refused,
}

impl Fetch {
    pub(super) fn new(from: &Place, blob: &Descriptor, gaps: Vec<Range<u64>>, options: &DownloadOptions) -> Self {
        let source = Source { from: from.clone(), blob: blob.clone(), part: options.part() };
        Self {
            source: Arc::new(source),
            gaps: gaps.into(),
            running: FuturesUnordered::new(),
            ranging: Ranging::Unknown,
            limit: 1,
            connections: options.connections(),
            pace: Pace::new(options.memory(), options.connections()),
            attempts: options.attempts,
        }
    }

    /// The next part, none when all bytes have come. Segments begin only if they end at `until` or before,
    /// or when none is running.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self, until: u64) -> Result<Option<Part>> {
        loop {
            self.begin(until);
            let Some((segment, event)) = self.running.next().await else { return Ok(None) };
            match event {
                Event::Opened { came, asked } => self.opened(segment, &came, asked),
                Event::Refused => {
                    self.ranging = Ranging::Refused;
                    self.limit = 1;
                    self.go_on(segment);
                }
                Event::Came { part, broke } => {
                    self.came(segment, broke)?;
                    if part.len > 0 {
                        return Ok(Some(part));
                    }
                }
            }
        }
    }

    fn begin(&mut self, until: u64) {
        while let Some(gap) = self.gaps.front()
            && self.running.len() < self.limit
        {
            let left = self.gaps.iter().map(|gap| gap.end - gap.start).sum();
            let len = match self.ranging {
                Ranging::Ignored | Ranging::Refused => u64::MAX,
                Ranging::Served | Ranging::Unknown => self.pace.next(left),
            };
            let range = gap.start..gap.end.min(gap.start.saturating_add(len));
            if range.end > until && !self.running.is_empty() {
                return;
            }
            if range.end == gap.end {
                self.gaps.pop_front();
            } else {
                self.gaps[0].start = range.end;
            }
            self.go_on(Segment {
                rest: range,
                body: None,
                whole: false,
                patience: Patience::new(self.attempts),
                wait: Duration::ZERO,
                timing: None,
            });
        }
    }

    fn opened(&mut self, mut segment: Segment, came: &Range<u64>, asked: bool) {
        let more = came.start < segment.rest.start || came.end > segment.rest.end;
        if asked && more {
            self.ranging = Ranging::Ignored;
            self.limit = 1;
        } else if asked && self.ranging == Ranging::Unknown {
            self.ranging = Ranging::Served;
            self.limit = self.connections;
        }
        // What is on its way anyway is taken. Not while others run: those it would run away from.
        if more
            && let Some(gap) = self.gaps.front()
            && gap.start == segment.rest.end
            && gap.end <= came.end
            && self.running.is_empty()
        {
            segment.rest.end = gap.end;
            self.gaps.pop_front();
        }
        self.go_on(segment);
    }

    fn came(&mut self, mut segment: Segment, broke: Option<Broke>) -> Result<()> {
        let Some(Broke { error, again }) = broke else {
            if segment.rest.is_empty() {
                if let Some(timing) = &segment.timing {
                    self.pace.learn(timing, segment.rest.end);
                }
                // One more after each that went well, until the registry has enough again.
                if self.ranging == Ranging::Served {
                    self.limit = self.connections.min(self.limit + 1);
                }
            } else {
                self.go_on(segment);
            }
            return Ok(());
        };
        if !again {
            return Err(error);
        }
        if *error.code() == Code::TooManyRequests {
            self.limit = (self.running.len() / 2).max(1);
        }
        segment.wait = segment.patience.after(error)?;
        self.go_on(segment);
        Ok(())
    }

    fn go_on(&mut self, mut segment: Segment) {
        segment.whole |= self.ranging == Ranging::Refused;
        self.running.push(segment.advance(self.source.clone()).boxed());
    }
}

struct Source {
    from: Place,
    blob: Descriptor,
    /// Bytes that are gathered into one part.
    part: u64,
}

struct Segment {
    /// What has not come yet.
    rest: Range<u64>,
    body: Option<Body>,
    /// Ask for the whole blob, and take the rest of it.
    whole: bool,
    patience: Patience,
    wait: Duration,
    timing: Option<Timing>,
}

/// How fast a request was.
struct Timing {
    start: u64,
    latency: Duration,
    opened: Instant,
}

enum Event {
    /// An answer began, with bytes of these; `asked` if for a range.
    Opened { came: Range<u64>, asked: bool },
    /// The registry does not want to be asked for a range.
    Refused,
    /// Bytes came, and the body goes on unless it broke or the segment is done.
    Came { part: Part, broke: Option<Broke> },
}

struct Broke {
    error: Error,
    /// Asking again may help.
    again: bool,
}

impl Segment {
    async fn advance(mut self, source: Arc<Source>) -> (Self, Event) {
        let event = match self.body.take() {
            Some(body) => self.gather(body, source.part).await,
            None => self.open(&source).await.unwrap_or_else(|error| {
                let again = error.is_transient();
                Event::Came { part: self.part(Vec::new(), 0), broke: Some(Broke { error, again }) }
            }),
        };
        (self, event)
    }

    async fn open(&mut self, source: &Source) -> Result<Event> {
        tokio::time::sleep(std::mem::take(&mut self.wait)).await;
        let Descriptor { digest, size, .. } = &source.blob;
        // A registry's client verifies a blob that is asked for as a whole, and who takes these parts does it
        // again: of a large one that is dear.
        let asked = !self.whole && (self.rest != (0..*size) || *size > FIRST_SEGMENT);
        let range = asked.then(|| self.rest.clone().into());
        let began = Instant::now();
        let blob = match source.from.registry.get_blob(&source.from.repo, digest, range).await {
            Err(error) if asked && matches!(error.code(), Code::RangeInvalid | Code::Unsupported) => {
                return Ok(Event::Refused);
            }
            answer => answer?,
        };
        if blob.descriptor.size != *size {
            let message = format!("{digest}: expected {size} bytes, the registry has {}", blob.descriptor.size);
            return Err(Error::new(Code::SizeInvalid, message));
        }
        let (came, start) = (blob.range.clone(), self.rest.start);
        if !came.contains(&start) {
            let message = format!("{digest}: asked for bytes {:?}, got {came:?}", self.rest);
            return Err(Error::new(Code::RangeInvalid, message));
        }
        self.body = Some(blob.narrow(start..came.end)?);
        let opened = Instant::now();
        self.timing = Some(Timing { start, latency: opened - began, opened });
        Ok(Event::Opened { came, asked })
    }

    /// Takes from a body what is worth another thread's while, or what comes within a moment.
    async fn gather(&mut self, mut body: Body, want: u64) -> Event {
        let left = self.rest.end - self.rest.start;
        let want = want.min(left);
        let mut bytes = Vec::new();
        let mut len = 0;
        let mut deadline = None;
        let broke = loop {
            if len >= want || bytes.len() >= MAX_PIECES {
                break None;
            }
            let next = match deadline {
                None => body.next().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, body.next()).await {
                    Ok(next) => next,
                    Err(_) => break None,
                },
            };
            match next {
                Some(Ok(piece)) => {
                    let piece = piece.slice(..piece.len().min((left - len) as usize));
                    if !piece.is_empty() {
                        len += piece.len() as u64;
                        bytes.push(piece);
                    }
                    deadline.get_or_insert_with(|| Instant::now() + MOMENT);
                }
                // A body that ends too soon says so by SizeInvalid: the rest can be asked for again.
                Some(Err(error)) => {
                    let again = error.is_transient() || *error.code() == Code::SizeInvalid;
                    break Some(Broke { error, again });
                }
                None => {
                    let error = Error::new(Code::Unavailable, format!("{} bytes did not come", left - len));
                    break Some(Broke { error, again: true });
                }
            }
        };
        let part = self.part(bytes, len);
        // What came to its end before it broke did not break.
        let broke = broke.filter(|_| !self.rest.is_empty());
        if broke.is_none() && !self.rest.is_empty() {
            self.body = Some(body);
        }
        Event::Came { part, broke }
    }

    fn part(&mut self, bytes: Vec<Bytes>, len: u64) -> Part {
        let at = self.rest.start;
        self.rest.start += len;
        if len > 0 {
            self.patience.progress();
        }
        Part { at, len, bytes }
    }
}

/// How large segments are: so large that waiting for their first byte costs little, so small that memory
/// holds those that come before their turn.
#[derive(Debug)]
struct Pace {
    connections: u64,
    segment: u64,
    least: u64,
    most: u64,
}

impl Pace {
    fn new(memory: u64, connections: usize) -> Self {
        let connections = connections as u64;
        let most = (memory / 2 / connections).min(MAX_SEGMENT);
        Self { connections, segment: most.min(FIRST_SEGMENT), least: most.min(MIN_SEGMENT), most }
    }

    /// The length of a segment, when so many bytes are left.
    fn next(&self, left: u64) -> u64 {
        if self.connections == 1 || left <= 2 * self.least {
            return left;
        }
        // Towards the end they are smaller, so that all connections end at about the same time.
        let fair = left.div_ceil(self.connections);
        self.segment.min(fair.max(self.least))
    }

    fn learn(&mut self, timing: &Timing, end: u64) {
        let took = timing.opened.elapsed().max(Duration::from_micros(1));
        let rate = (end - timing.start) as f64 / took.as_secs_f64();
        let worth = (rate * timing.latency.as_secs_f64() * WORTH) as u64;
        self.segment = (self.segment / 2 + worth.clamp(self.least, self.most) / 2).clamp(self.least, self.most);
    }
}

/// The first segments, in bytes, before anything is known of the registry.
const FIRST_SEGMENT: u64 = 2 << 20;
/// The smallest segments that a blob is cut into.
const MIN_SEGMENT: u64 = 1 << 20;
/// The largest segments: a second of a fast line's time.
const MAX_SEGMENT: u64 = 8 << 20;

/// How many times longer a request lasts than its first byte takes to come.
const WORTH: f64 = 16.0;

/// How long bytes wait for others to make a part with.
const MOMENT: Duration = Duration::from_millis(20);

/// Pieces of one part.
const MAX_PIECES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn segments_grow_with_latency_and_throughput() {
        for (latency, took, want) in [(0, 1, MIN_SEGMENT), (20, 100, MAX_SEGMENT), (5, 100, 8 << 20), (1, 100, 2 << 20)]
        {
            let mut pace = Pace::new(64 << 20, 4);
            let opened = Instant::now();
            tokio::time::advance(Duration::from_millis(took)).await;
            for _ in 0..40 {
                let timing = Timing { start: 0, latency: Duration::from_millis(latency), opened };
                pace.learn(&timing, took * (128 << 10));
            }
            let near = pace.segment.abs_diff(want) <= want / 4;
            assert!(near, "{latency} ms, {took} ms: {} instead of {want}", pace.segment);
        }
    }

    #[test]
    fn segments_shrink_towards_the_end() {
        let pace = Pace { connections: 6, segment: 8 << 20, least: 1 << 20, most: 8 << 20 };
        for (left, want) in [(1 << 30, 8 << 20), (12 << 20, 2 << 20), (3 << 20, 1 << 20), (2 << 20, 2 << 20), (5, 5)] {
            assert_eq!(pace.next(left), want, "{left}");
        }
    }
}
