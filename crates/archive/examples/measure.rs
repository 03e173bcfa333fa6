//! Builds the archive of a directory, or extracts one, and says how long that took.
//!
//! `measure build DIR INDEX DATA`, `measure tar FILE INDEX DATA`, `measure extract INDEX DATA DIR`,
//! `measure open INDEX DATA`, and `measure link INDEX DATA DIR PATTERN REQUESTS`: what matches, over a link of 100 Mbit/s
//! and 50 ms each way

use std::env;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::StreamExt;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::ExtractOptions;
use skep_archive::FileSource;
use skep_archive::Limits;
use skep_archive::Patterns;
use skep_archive::Result;
use skep_archive::Source;
use skep_registry::Body;

/// From a request to the first byte of its answer.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Bytes in a second.
const SPEED: u64 = 12_500_000;

/// A file behind a link, which all requests share.
#[derive(Debug)]
struct Link {
    data: FileSource,
    /// When the link has sent what it has to send.
    free: Mutex<Instant>,
    /// Requests, and the bytes that they were for.
    asked: Mutex<(u64, u64)>,
}

impl Link {
    fn time(bytes: u64) -> Duration {
        Duration::from_micros(bytes * 1_000_000 / SPEED)
    }
}

#[async_trait]
impl Source for Link {
    fn size(&self) -> u64 {
        self.data.size()
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        {
            let mut asked = self.asked.lock().expect("nothing panics");
            *asked = (asked.0 + 1, asked.1 + range.end - range.start);
        }
        tokio::time::sleep(ROUND_TRIP).await;
        // As if each request had its bytes sent at once: those that others wait for come later.
        let until = {
            let mut free = self.free.lock().expect("nothing panics");
            let begin = (*free).max(Instant::now());
            *free = begin + Self::time(range.end - range.start);
            begin
        };
        let len = range.end - range.start;
        let mut came = 0;
        let paced = self.data.read(range).await?.then(move |part| {
            came += part.as_ref().map_or(0, |part| part.len() as u64);
            let at = until + Self::time(came);
            async move {
                tokio::time::sleep_until(at.into()).await;
                part
            }
        });
        Ok(Body::new(Some(len), paced))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    match args[..] {
        ["build", dir, index, data] => {
            let options = BuildOptions { spool_dir: Path::new(data).parent().map(Into::into), ..Default::default() };
            let built = skep_archive::build(Path::new(dir), &options, &|_| {})?;
            println!("built in {:?}: {:?}", start.elapsed(), built.summary());
            built.save(Path::new(index), Path::new(data))?;
        }
        ["tar", file, index, data] => {
            let options = BuildOptions { spool_dir: Path::new(data).parent().map(Into::into), ..Default::default() };
            let built = skep_archive::build_tar(std::fs::File::open(file)?, &options, &|_| {})?;
            println!("built in {:?}: {:?}", start.elapsed(), built.summary());
            built.save(Path::new(index), Path::new(data))?;
        }
        ["extract", index, data, dir] => {
            let archive = Archive::open_files(Path::new(index), Path::new(data), Limits::default())?;
            println!("opened in {:?}", start.elapsed());
            let extracted = archive.extract(Path::new(dir), &ExtractOptions::default(), |_| {}).await?;
            println!("extracted in {:?}: {extracted:?}", start.elapsed());
        }
        ["open", index, data] => {
            let archive = Archive::open_files(Path::new(index), Path::new(data), Limits::default())?;
            println!("opened {} files in {:?}", archive.entries().len(), start.elapsed());
        }
        ["link", index, data, dir, pattern, requests] => {
            let link = Arc::new(Link {
                data: FileSource::open(Path::new(data))?,
                free: Mutex::new(start),
                asked: Mutex::default(),
            });
            let archive = Archive::new(std::fs::read(index)?.into(), link.clone(), Limits::default())?;
            let patterns = Patterns::new([pattern], [""; 0])?;
            let options = ExtractOptions { patterns, in_flight: requests.parse()?, ..Default::default() };
            let extracted = archive.extract(Path::new(dir), &options, |_| {}).await?;
            let (took, (count, bytes)) = (start.elapsed(), *link.asked.lock().expect("nothing panics"));
            let line = ROUND_TRIP + Link::time(bytes);
            println!("{extracted:?} in {took:?}; {count} requests, {bytes} bytes, which take the link {line:?}");
        }
        _ => {
            return Err(
                "measure build DIR INDEX DATA, tar FILE INDEX DATA, extract INDEX DATA DIR, open INDEX DATA, or link"
                    .into(),
            );
        }
    }
    Ok(())
}
