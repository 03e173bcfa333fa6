//! A link that is cut again and again, and counts what passes.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

/// How a [`Link`] is.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// After how many bytes, by chance within this range, all connections are cut. None never cuts.
    pub cut: Option<Range<u64>>,
    /// Bytes a second that pass in one direction over one connection at most. None counts as any number.
    pub rate: Option<u64>,
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
            options,
            left: Mutex::new(0),
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
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_recv_buffer_size(BUFFER)?;
    let mut far = socket.connect(target.parse().map_err(io::Error::other)?).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
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

async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    shared: &Shared,
    is_up: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER as usize];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        shared.count(read as u64, is_up);
        if let Some(rate) = shared.options.rate {
            tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await;
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each change is one step.
    shared.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Bytes that the link holds on the way, in each of its four buffers.
const BUFFER: u32 = 64 << 10;
const BACKLOG: u32 = 128;
