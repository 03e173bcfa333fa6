//! Pushes a directory into an OCI layout and reads from it: no server, no network.

use std::fs;
use std::sync::Arc;

use skep::Address;
use skep::Client;
use skep::ExtractOptions;
use skep::PushOptions;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let site = dir.path().join("site");
    fs::create_dir_all(site.join("css"))?;
    fs::write(site.join("index.html"), "<h1>hello</h1>\n")?;
    fs::write(site.join("css/main.css"), "h1 { color: teal }\n")?;

    let client = Client::default();
    let address: Address = format!("oci:{}:v1", dir.path().join("store").display()).parse()?;
    let quiet = || Arc::new(|_| {});
    let pushed = client.push(&site, &address, PushOptions::default(), quiet()).await?;
    println!("pushed {} files as {}", pushed.summary.files, pushed.manifest.digest);

    // Nothing but the manifest and the index is read here, and then nothing but the file.
    let archive = client.pull(&address).await?;
    let page = archive.read("index.html").await?;
    print!("{}", String::from_utf8_lossy(&page));

    let extracted = archive.extract(&dir.path().join("copy"), ExtractOptions::default(), quiet()).await?;
    println!("extracted {} files, {} bytes", extracted.files, extracted.bytes);
    assert_eq!(fs::read(dir.path().join("copy/css/main.css"))?, fs::read(site.join("css/main.css"))?);
    Ok(())
}
