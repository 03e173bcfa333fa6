//! Builds the archive of a directory, or extracts one, and says how long that took.
//!
//! `measure build DIR INDEX DATA`, `measure tar FILE INDEX DATA`, `measure extract INDEX DATA DIR`, `measure open INDEX DATA`

use std::env;
use std::path::Path;
use std::time::Instant;

use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::ExtractOptions;
use skep_archive::Limits;

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
        _ => {
            return Err(
                "measure build DIR INDEX DATA, tar FILE INDEX DATA, extract INDEX DATA DIR, or open INDEX DATA".into(),
            );
        }
    }
    Ok(())
}
