//! SQL over a Parquet file in a registry: of the archive, only what the query needs is fetched.
//!
//! Writes a table of twenty row groups, pushes it in an archive to a registry on the disk, and lets DataFusion query it
//! there. It fails when an answer is wrong or when most of the file was read for it.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::Float64Array;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::ParquetReadOptions;
use datafusion::prelude::SessionContext;
use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::ArchiveStore;
use skep_archive::BuildOptions;
use skep_archive::Limits;
use skep_archive::PushOptions;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::transfer::Place;
use url::Url;

const ROWS: i64 = 1_000_000;
const GROUP: usize = 50_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let work = tempfile::tempdir()?;
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree)?;
    write_table(&tree.join("table.parquet"))?;

    let place = Place::new(
        Arc::new(Layout::single(work.path().join("registry"), "team/tables".parse()?, LayoutOptions::default())?),
        "team/tables".parse()?,
    );
    let built = skep_archive::build(&tree, &BuildOptions::default(), &|_| {})?;
    let options = PushOptions { tags: vec!["v1".parse()?], ..PushOptions::default() };
    let pushed = skep_archive::push(&place, &built, &options).await?;

    let manifest = ArchiveManifest::parse(&pushed.manifest)?;
    let archive = Archive::open(place.registry, &place.repo, &manifest, Limits::default()).await?;
    let counted =
        Arc::new(Counted { inner: archive.source().clone(), bytes: AtomicU64::new(0), reads: AtomicU64::new(0) });
    let archive = Archive::new(archive.index().bytes().clone(), counted.clone(), Limits::default())?;
    let entry = archive.entry("table.parquet")?;
    let chunks = entry.chunks.map_or(1, |chunks| chunks.len());
    let (original, stored) = (entry.original_size, entry.data_size);
    println!("table.parquet: {original} bytes, stored in {stored} by {chunks} chunks");

    let context = SessionContext::new();
    context.register_object_store(&Url::parse("archive://v1")?, Arc::new(ArchiveStore::new(archive.clone())));
    context.register_parquet("t", "archive://v1/table.parquet", ParquetReadOptions::default()).await?;
    let query =
        "SELECT count(*) AS n, sum(amount) AS total, min(label) AS label FROM t WHERE id >= 700100 AND id < 700300";
    let answer = context.sql(query).await?.collect().await?;
    println!("{query}\n{}", pretty_format_batches(&answer)?);

    let ids = 700_100..700_300;
    let want = RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from(vec![200])) as ArrayRef),
        ("total", Arc::new(Float64Array::from(vec![ids.clone().map(amount).sum::<f64>()]))),
        ("label", Arc::new(StringArray::from(vec![ids.map(label).min()]))),
    ])?;
    let said = |batches: &[RecordBatch]| pretty_format_batches(batches).map(|table| table.to_string());
    if said(&answer)? != said(&[want])? {
        return Err("the answer is wrong".into());
    }
    let (bytes, reads) = (counted.bytes.load(Ordering::Relaxed), counted.reads.load(Ordering::Relaxed));
    println!("fetched {bytes} bytes by {reads} requests: {:.1} % of the file", bytes as f64 * 100.0 / stored as f64);
    if bytes * 3 > stored {
        return Err("more than a third of the file was fetched".into());
    }
    Ok(())
}

/// Counts what is read of the data.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn skep_archive::Source>,
    bytes: AtomicU64,
    reads: AtomicU64,
}

#[async_trait::async_trait]
impl skep_archive::Source for Counted {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    async fn read(&self, range: std::ops::Range<u64>) -> skep_archive::Result<skep_registry::Body> {
        self.bytes.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read(range).await
    }
}

/// A table of ids in order, with columns that compress somewhat, in row groups.
fn write_table(path: &Path) -> Result<(), Box<dyn Error>> {
    let batch = |start: i64| {
        let ids = start..start + GROUP as i64;
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(ids.clone())) as ArrayRef),
            ("amount", Arc::new(Float64Array::from_iter_values(ids.clone().map(amount)))),
            ("label", Arc::new(StringArray::from_iter_values(ids.map(label)))),
        ])
    };
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(GROUP)).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch(0)?.schema(), Some(properties))?;
    for start in (0..ROWS).step_by(GROUP) {
        writer.write(&batch(start)?)?;
    }
    writer.close()?;
    Ok(())
}

/// Whole numbers, so that a sum does not depend on the order.
fn amount(id: i64) -> f64 {
    (id.wrapping_mul(2_654_435_761) % 1_000_003) as f64
}

fn label(id: i64) -> String {
    format!("order {:x} of customer {}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64), id % 997)
}
