//! A link that is far, thin, cut again and again, and counts what passes.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep_until;

/// How a [`Link`] is.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// After how many bytes, by chance within this range, all connections are cut. None never cuts.
    pub cut: Option<Range<u64>>,
    /// How long every byte takes, in each direction. A new connection takes this twice before its first byte
    /// leaves, as a handshake does. There is no slow start: the far end of a long line looks better than it is.
    pub delay: Duration,
    /// Bytes a second that pass in one direction over one connection at most. None counts as any number.
    pub rate: Option<u64>,
    /// Bytes a second that pass in one direction over all connections together at most, which share them evenly.
    pub bandwidth: Option<u64>,
    /// What chance begins with: the same seed cuts at the same bytes.
    pub seed: u64,
}

/// A way over loopback to a server that is on loopback too. It ends when this is dropped.
#[derive(Debug)]
pub struct Link {
    host: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    options: LinkOptions,
    random: Mutex<u64>,
    /// Bytes that are left until the next cut.
    left: Mutex<u64>,
    /// What all connections share, up and down.
    lanes: [Lane; 2],
    connections: AtomicU64,
    /// How often it was cut.
    cuts: watch::Sender<u64>,
    up: AtomicU64,
    down: AtomicU64,
    passed: watch::Sender<u64>,
}

impl Link {
    /// Opens a link to an address with a port.
    ///
    /// # Errors
    /// Those of listening on loopback.
    pub async fn to(target: &str, options: LinkOptions) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // What is on its way when a connection is cut is lost, and was counted.
        socket.set_send_buffer_size(BUFFER)?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let host = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            random: Mutex::new(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            lanes: [Lane::new(options.bandwidth), Lane::new(options.bandwidth)],
            options,
            left: Mutex::new(0),
            connections: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            passed: watch::Sender::new(0),
        });
        *lock(&shared.left) = shared.next_cut();
        let task = tokio::spawn(accept(listener, target.to_owned(), shared.clone()));
        Ok(Self { host, shared, task })
    }

    /// Address and port of this end of the link.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        *self.shared.cuts.borrow()
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Bytes that went to the server, those of heads included.
    pub fn up(&self) -> u64 {
        self.shared.up.load(Ordering::Relaxed)
    }

    /// Bytes that came from the server, those of heads included.
    pub fn down(&self) -> u64 {
        self.shared.down.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes have passed, in both directions together.
    pub async fn until(&self, bytes: u64) {
        let mut passed = self.shared.passed.subscribe();
        passed.wait_for(|passed| *passed >= bytes).await.expect("the link has the sender");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Counts bytes, and cuts the link when it is time.
    fn count(&self, bytes: u64, is_up: bool) {
        let total = if is_up { &self.up } else { &self.down };
        total.fetch_add(bytes, Ordering::Relaxed);
        self.passed.send_modify(|passed| *passed += bytes);
        let mut left = lock(&self.left);
        *left = left.saturating_sub(bytes);
        if *left == 0 {
            *left = self.next_cut();
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
    }

    fn next_cut(&self) -> u64 {
        let Some(cut) = &self.options.cut else { return u64::MAX };
        let mut random = lock(&self.random);
        // xorshift64*.
        *random ^= *random >> 12;
        *random ^= *random << 25;
        *random ^= *random >> 27;
        cut.start + random.wrapping_mul(0x2545_f491_4f6c_dd1d) % (cut.end - cut.start)
    }
}

async fn accept(listener: TcpListener, target: String, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(near, target.clone(), shared.clone()));
    }
}

async fn connection(mut near: TcpStream, target: String, shared: Arc<Shared>) -> io::Result<()> {
    let mut cuts = shared.cuts.subscribe();
    cuts.mark_unchanged();
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_recv_buffer_size(BUFFER)?;
    let mut far = socket.connect(target.parse().map_err(io::Error::other)?).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    sleep_until(Instant::now() + shared.options.delay * 2).await;
    let (mut near_read, mut near_write) = near.split();
    let (mut far_read, mut far_write) = far.split();
    let both = async {
        tokio::try_join!(
            pass(&mut near_read, &mut far_write, &shared, true),
            pass(&mut far_read, &mut near_write, &shared, false)
        )
    };
    tokio::select! {
        biased;
        _ = cuts.changed() => {
            near.set_zero_linger()?;
            far.set_zero_linger()?;
        }
        ended = both => {
            ended?;
        }
    }
    Ok(())
}

/// Passes on what comes in one direction of one connection, each piece after its time.
async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    shared: &Shared,
    is_up: bool,
) -> io::Result<()> {
    let LinkOptions { delay, rate, bandwidth, .. } = shared.options;
    // As much as fits on the line, so that the delay does not make it thinner.
    let line = bandwidth.or(rate).map_or(FAR, |rate| (delay.as_secs_f64() * rate as f64 * 1.5) as usize + PIECE);
    let on_the_way = if delay.is_zero() { 1 } else { line.div_ceil(PIECE) };
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(on_the_way);
    let taking = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            let piece = if from.read_buf(&mut (&mut buffer).limit(PIECE)).await? == 0 {
                Bytes::new()
            } else {
                buffer.split().freeze()
            };
            let is_end = piece.is_empty();
            if sender.send((Instant::now() + delay, piece)).await.is_err() || is_end {
                return Ok(());
            }
        }
    };
    let giving = async {
        let lane = Lane::new(rate);
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if piece.is_empty() {
                return to.shutdown().await;
            }
            lane.take(piece.len()).await;
            shared.lanes[usize::from(is_up)].take(piece.len()).await;
            to.write_all(&piece).await?;
            shared.count(piece.len() as u64, is_up);
        }
        Ok(())
    };
    tokio::try_join!(taking, giving).map(|_| ())
}

/// Something through which so many bytes a second pass, in the order in which they came.
#[derive(Debug)]
struct Lane {
    rate: Option<u64>,
    /// When all that passed before is through.
    free: tokio::sync::Mutex<Instant>,
}

impl Lane {
    fn new(rate: Option<u64>) -> Self {
        Self { rate, free: tokio::sync::Mutex::new(Instant::now()) }
    }

    async fn take(&self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        // Held while waiting: who comes later waits behind.
        let mut free = self.free.lock().await;
        // What a late timer lost is made up for, what nobody asked for is gone.
        *free = (*free).max(Instant::now() - LATE) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        sleep_until(*free).await;
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each change is one step.
    shared.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Bytes that are passed on at once.
const PIECE: usize = 16 << 10;

/// Bytes that are on their way over a line that is far, and as wide as anyone likes.
const FAR: usize = 16 << 20;

/// How late timers are.
const LATE: Duration = Duration::from_millis(5);

/// Bytes that the link holds on the way, in each of its four buffers.
const BUFFER: u32 = 64 << 10;
const BACKLOG: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte of a request with so many bytes.
    async fn server(answer: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while stream.read_u8().await.is_ok() {
                        stream.write_all(&vec![7; answer]).await.unwrap();
                    }
                });
            }
        });
        host
    }

    async fn ask(stream: &mut TcpStream, answer: usize) -> Duration {
        let begin = Instant::now();
        stream.write_u8(1).await.unwrap();
        stream.read_exact(&mut vec![0; answer]).await.unwrap();
        begin.elapsed()
    }

    #[tokio::test]
    async fn a_far_link_takes_its_time_each_way() {
        let options = LinkOptions { delay: Duration::from_millis(50), ..Default::default() };
        let link = Link::to(&server(1 << 20).await, options).await.unwrap();
        let mut stream = TcpStream::connect(link.host()).await.unwrap();
        let (first, second) = (ask(&mut stream, 1 << 20).await, ask(&mut stream, 1 << 20).await);
        assert!(first >= Duration::from_millis(200), "{first:?}");
        // However much it is: there is room on the line.
        assert!(second >= Duration::from_millis(100) && second < first, "{second:?} after {first:?}");
        assert_eq!((link.up(), link.down(), link.connections()), (2, 2 << 20, 1));
    }

    #[tokio::test]
    async fn connections_share_the_bandwidth() {
        let options = LinkOptions { bandwidth: Some(2 << 20), ..Default::default() };
        let link = Link::to(&server(1 << 20).await, options).await.unwrap();
        let mut streams =
            [TcpStream::connect(link.host()).await.unwrap(), TcpStream::connect(link.host()).await.unwrap()];
        let [one, other] = &mut streams;
        let (one, other) = tokio::join!(ask(one, 1 << 20), ask(other, 1 << 20));
        for took in [one, other] {
            assert!(took >= Duration::from_millis(800), "{one:?} and {other:?}");
        }
    }
}
