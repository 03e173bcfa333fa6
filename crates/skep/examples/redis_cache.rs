//! Keeps what a client remembers in a Redis, for many machines: the trait `CacheStore`, over a few lines of its protocol.
//!
//! With an address, `redis_cache 127.0.0.1:6379`, it uses the Redis there; without one, a server of its own that knows the
//! four commands.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use skep::Address;
use skep::Caches;
use skep::Client;
use skep::ClientOptions;
use skep::PushOptions;
use skep_http::Server;
use skep_registry::CacheStore;
use skep_registry::Key;
use skep_registry::MAX_VALUE;
use skep_registry::Memory;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufStream;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// A Redis. What it evicts, and whether it keeps anything over a restart, is its own affair.
#[derive(Debug)]
struct Redis {
    address: String,
    /// One that is idle; none after anything went wrong with it.
    connection: Mutex<Option<BufStream<TcpStream>>>,
}

impl Redis {
    /// Sends a command and gives the answer. A cache must never cost more than it saves: it has a second.
    async fn ask(&self, command: &[&[u8]]) -> io::Result<Reply> {
        let mut place = self.connection.lock().await;
        let taken = place.take();
        let asking = async {
            let mut stream = match taken {
                Some(stream) => stream,
                None => BufStream::new(TcpStream::connect(&self.address).await?),
            };
            stream.write_all(format!("*{}\r\n", command.len()).as_bytes()).await?;
            for word in command {
                stream.write_all(format!("${}\r\n", word.len()).as_bytes()).await?;
                stream.write_all(word).await?;
                stream.write_all(b"\r\n").await?;
            }
            stream.flush().await?;
            let reply = Reply::read(&mut stream).await?;
            Ok::<_, io::Error>((stream, reply))
        };
        let (stream, reply) = tokio::time::timeout(Duration::from_secs(1), asking).await??;
        *place = Some(stream);
        Ok(reply)
    }
}

fn name(key: &Key) -> Vec<u8> {
    format!("skep:{}", key.id().hex()).into_bytes()
}

#[async_trait]
impl CacheStore for Redis {
    async fn get(&self, key: &Key) -> Option<Bytes> {
        match self.ask(&[b"GET", &name(key)]).await.ok()? {
            // Others may write there, so what must have a digest is looked at.
            Reply::Bulk(Some(value)) if key.accepts(&value) => Some(value.into()),
            _ => None,
        }
    }

    async fn has(&self, key: &Key) -> bool {
        matches!(self.ask(&[b"EXISTS", &name(key)]).await, Ok(Reply::Line(line)) if line == ":1")
    }

    async fn put(&self, key: &Key, value: Bytes) {
        if key.accepts(&value) {
            // A day is long enough for what can always be had again.
            let _ = self.ask(&[b"SET", &name(key), &value, b"EX", b"86400"]).await;
        }
    }

    async fn remove(&self, key: &Key) {
        let _ = self.ask(&[b"DEL", &name(key)]).await;
    }
}

/// What a Redis says: a line, with its first sign, or a value that is there or not.
enum Reply {
    Line(String),
    Bulk(Option<Vec<u8>>),
}

impl Reply {
    async fn read(stream: &mut BufStream<TcpStream>) -> io::Result<Self> {
        let line = read_line(stream).await?;
        match line.strip_prefix('$') {
            None => Ok(Self::Line(line)),
            Some("-1") => Ok(Self::Bulk(None)),
            Some(len) => Ok(Self::Bulk(Some(read_bulk(stream, len).await?))),
        }
    }
}

async fn read_line(stream: &mut BufStream<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    (&mut *stream).take(1024).read_line(&mut line).await?;
    let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(line.to_owned())
}

async fn read_bulk(stream: &mut BufStream<TcpStream>, len: &str) -> io::Result<Vec<u8>> {
    let len = len.parse().ok().filter(|len| *len <= MAX_VALUE).ok_or(io::ErrorKind::InvalidData)?;
    let mut value = vec![0; len + 2];
    stream.read_exact(&mut value).await?;
    value.truncate(len);
    Ok(value)
}

/// A server that knows the four commands.
async fn imitate(listener: TcpListener) -> io::Result<()> {
    let values = Arc::new(Mutex::new(HashMap::<Vec<u8>, Vec<u8>>::new()));
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(BufStream::new(stream), values.clone()));
    }
}

async fn answer(mut stream: BufStream<TcpStream>, values: Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>) -> io::Result<()> {
    loop {
        let count = read_line(&mut stream).await?;
        let count = count.strip_prefix('*').and_then(|count| count.parse::<usize>().ok()).filter(|count| *count < 10);
        let mut words = Vec::new();
        for _ in 0..count.ok_or(io::ErrorKind::InvalidData)? {
            let len = read_line(&mut stream).await?;
            words.push(read_bulk(&mut stream, len.strip_prefix('$').unwrap_or_default()).await?);
        }
        let mut values = values.lock().await;
        let reply = match &words[..] {
            [get, name] if get == b"GET" => match values.get(name) {
                Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
                None => b"$-1\r\n".to_vec(),
            },
            [exists, name] if exists == b"EXISTS" => {
                format!(":{}\r\n", u8::from(values.contains_key(name))).into_bytes()
            }
            [set, name, value, ..] if set == b"SET" => {
                values.insert(name.clone(), value.clone());
                b"+OK\r\n".to_vec()
            }
            [del, name] if del == b"DEL" => format!(":{}\r\n", u8::from(values.remove(name).is_some())).into_bytes(),
            _ => b"-ERR unknown command\r\n".to_vec(),
        };
        stream.write_all(&reply).await?;
        stream.flush().await?;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = match std::env::args().nth(1) {
        Some(address) => address,
        None => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            tokio::spawn(imitate(listener));
            address
        }
    };
    let redis = Arc::new(Redis { address, connection: Mutex::default() });

    // A registry, and an archive in it.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let site: Address = format!("{}/team/site:v1", listener.local_addr()?).parse()?;
    let server =
        tokio::spawn(skep_http::serve(listener, Server::new(Arc::new(Memory::default())), std::future::pending()));
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("page"), "hello from a cache\n")?;
    Client::default().push(dir.path(), &site, PushOptions::default(), Arc::new(|_| {})).await?;

    // One client reads; then the registry is gone, and another one reads without it.
    let client = |offline| {
        let caches = Caches { offline, ..Caches::over(redis.clone()) };
        Client::new(ClientOptions { caches, ..Default::default() })
    };
    let page = client(false).pull(&site).await?.read("page").await?;
    server.abort();
    let again = client(true).pull(&site).await?.read("page").await?;
    assert_eq!(page, again);

    // What somebody else has put in the place of a value is not taken.
    let digest = skep_registry::Digest::sha256(b"hello from a cache\n");
    let key = Key::content("content", &digest);
    assert!(redis.has(&key).await);
    redis.ask(&[b"SET", &name(&key), b"forged"]).await?;
    assert!(redis.get(&key).await.is_none());
    redis.remove(&key).await;
    assert!(!redis.has(&key).await && client(true).pull(&site).await?.read("page").await.is_err());
    print!("{}", String::from_utf8_lossy(&page));
    Ok(())
}
