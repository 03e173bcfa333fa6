//! Sessions with registries that have to be reached first: settings, credentials, examinations, mistakes.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;

use crate::desk::Came;
use crate::desk::Desk;
use crate::desk::field;
use crate::desk::terminate;

#[test]
fn a_file_says_how_registries_are_reached() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let host = &served.addr;
    desk.ok(&format!("push -q site {host}/site:v1"));
    assert_eq!(desk.ok("config"), format!("no file: {}\n", desk.path(".config/skep/config.toml").display()));
    // A registry that is nowhere, and read from its mirror.
    let text = format!(
        "[registry.'registry.invalid']\nmirrors = ['{host}']\nheaders = {{ x-key = 'hunter2' }}\nca = ['ca.pem']\n\
         retry = {{ attempts = 1 }}\n"
    );
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    let path = desk.path(".config/skep/config.toml");
    fs::write(&path, text.replace("ca = ['ca.pem']\n", "")).unwrap();
    assert_eq!(desk.ok("cat registry.invalid/site:v1 css.txt"), "sorts before css/");
    assert_eq!(desk.ok("config path"), format!("{}\n", path.display()));
    let other = desk.path("other.toml");
    fs::write(&other, text).unwrap();
    let shown = desk.ok("config --client-config other.toml");
    assert_eq!(
        shown,
        format!(
            "file: other.toml\nregistry: registry.invalid\n  ca: ca.pem\n  headers: x-key\n  mirrors: {host}\n  \
             retry attempts: 1\n"
        )
    );
    let json = desk.ok("config --json --client-config other.toml --plain-http");
    assert_eq!(
        (field(&json, "schema"), field(&json, "exists"), field(&json, "plain_http")),
        ("skep/config/v1".to_owned(), "true".to_owned(), "true".to_owned())
    );
    assert!(!json.contains("hunter2") && !shown.contains("hunter2"));
    let came = desk.run("cat --client-config other.toml registry.invalid/site:v1 css.txt");
    assert!(came.exit == 12 && came.err.contains("cannot read ca.pem"), "{} {}", came.exit, came.err);
    fs::write(&path, "[registry.'a.b']\nskip_verify = true\n").unwrap();
    let came = desk.run(&format!("tags {host}/site"));
    assert_eq!(came.exit, 2);
    assert!(came.err.contains("config.toml:2:1: unknown field `skip_verify`"), "{}", came.err);
    assert_eq!(desk.ok("config path"), format!("{}\n", path.display()));
    let json = desk.ok("config path --json");
    assert_eq!((field(&json, "path"), field(&json, "exists")), (path.display().to_string(), "true".to_owned()));
    let out = desk.command("config path").env("SKEP_CONFIG", "none.toml").output().unwrap();
    assert_eq!(out.stdout, b"none.toml\n");
    assert_eq!(desk.run("config --client-config none.toml").exit, 12);
}

#[test]
fn credentials_are_told_and_tried_and_never_printed() {
    let desk = Desk::new();
    assert_eq!(desk.run("auth status").exit, 4);
    // "me:s3cret-word" in base64.
    let (good, bad) = (locked("bWU6czNjcmV0LXdvcmQ="), locked("bWU6b3RoZXI="));
    let auths = format!(
        r#"{{"auths":{{"{good}":{{"auth":"bWU6czNjcmV0LXdvcmQ="}},"{bad}":{{"auth":"bWU6czNjcmV0LXdvcmQ="}},"registry.invalid/team":{{"registrytoken":"t0ken"}},"empty.invalid":{{}}}}}}"#
    );
    fs::create_dir_all(desk.path(".docker")).unwrap();
    let file = desk.path(".docker/config.json");
    fs::write(&file, auths).unwrap();
    let out = desk.ok("auth status");
    let place = |key: &str| format!("in {}, under {key:?}", file.display());
    assert!(out.contains(&format!("{good}\n  user \"me\", {}\n", place(&good))), "{out}");
    let team = format!("registry.invalid/team\n  a token, {}\n", place("registry.invalid/team"));
    assert!(out.contains(&team) && out.contains("empty.invalid\n  nobody"), "{out}");
    let came = desk.ok(&format!("auth status --check {good}"));
    assert!(came.ends_with("  accepted: let in; basic authentication\n"), "{came}");
    let came = desk.run(&format!("auth status --check {bad}"));
    assert_eq!(came.exit, 3, "{}", came.err);
    assert!(came.out.contains("  refused: ") && came.err.contains("hint: check user and password"), "{came:?}");
    let json = desk.ok(&format!("auth status --json --check {good}"));
    assert_eq!(
        (field(&json, "schema"), field(&json, "accepted"), field(&json, "key")),
        ("skep/auth-status/v1".to_owned(), "true".to_owned(), good.clone())
    );
    for text in [out, came.out, came.err, json] {
        assert!(!text.contains("s3cret") && !text.contains("t0ken") && !text.contains("bWU6"), "{text}");
    }
    assert_eq!(desk.run("auth status other.invalid").exit, 4);
}

#[test]
fn a_registry_is_examined() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let host = &served.addr;
    let out = desk.ok(&format!("doctor --write team/site --max-mib 2 {host}"));
    for check in ["auth", "upload", "chunks", "mount", "ranges", "referrers", "delete-blob", "clean-up"] {
        assert!(out.lines().any(|line| line.starts_with(&format!("good    {check} "))), "{check}: {out}");
    }
    assert_eq!(desk.ok(&format!("tags {host}/team/site")), "");
    desk.ok(&format!("push -q site {host}/team/site:v1"));
    let json = desk.ok(&format!("doctor --json http://{host}/team/site"));
    assert_eq!((field(&json, "schema"), field(&json, "works")), ("skep/doctor/v1".to_owned(), "true".to_owned()));
    assert!(!json.contains("\"upload\"") && json.contains("\"ranges\",\"grade\":\"good\""), "{json}");
    assert_eq!(desk.run(&format!("doctor {host}/no/where")).exit, 4);
    assert_eq!(desk.run(&format!("doctor {host}/team/site:v1")).exit, 2);
    assert_eq!(desk.run(&format!("doctor --max-mib 2 {host}")).exit, 2);
    let came = desk.run("doctor --json 127.0.0.1:1");
    assert_eq!((came.exit, field(&came.out, "works"), field(&came.err, "code")), (7, "false".into(), "network".into()));
}

#[test]
fn an_interrupted_examination_leaves_nothing() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let line = format!("doctor --write team/site --max-mib 4096 {}", served.addr);
    let mut command = desk.command(&line);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // It sends more and more now, for long.
    assert!(lines.any(|line| line.unwrap().starts_with("good    chunks ")));
    terminate(&child);
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let came = Came::from(child.wait_with_output().unwrap());
    assert_eq!(came.exit, 130, "{}", came.err);
    assert!(rest.last().unwrap().starts_with("good    clean-up "), "{rest:?}");
}

#[test]
fn mistakes_are_told_with_their_remedy() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let (plain, private, safe) = (&served.addr, locked("nobody knows"), self_signed());
    for tag in ["v1.2", "v1.3", "nightly"] {
        desk.ok(&format!("push -q site {plain}/site:{tag}"));
    }
    desk.tries_once(&[&safe, "127.0.0.1:1"]);
    fs::write(desk.path("docker.json"), format!(r#"{{"auths":{{"{private}":{{"auth":"bWU6b3RoZXI="}}}}}}"#)).unwrap();
    for (line, exit, words) in [
        (format!("cat {plain}/site:v1.1 css.txt"), 4, "has no tag v1.1; near it: v1.2, v1.3"),
        (format!("ls {plain}/site"), 4, "has no tag latest; `skep tags"),
        (format!("cp {plain}/site:nigthly:/ x"), 4, "near it: nightly"),
        (format!("rm {plain}/site:nightl"), 4, "near it: nightly"),
        (format!("cat {plain}/site:v1.2 nothing"), 4, "nothing: not found"),
        (format!("ls {plain}/sites:v1.2"), 4, "check the repository"),
        (format!("ls https://{plain}/site"), 7, "hint: the registry speaks no TLS: write http://"),
        (format!("ls http://{safe}/site"), 7, "hint: the registry speaks TLS: write https://"),
        (format!("ls https://{safe}/site"), 7, "hint: nobody whom this machine trusts signed the certificate"),
        (format!("ls {private}/site"), 3, "hint: log in with `skep login HOST`"),
        ("ls 127.0.0.1:1/site".to_owned(), 7, "hint: nothing listens there"),
    ] {
        let came = desk.run(&line);
        assert_eq!(came.exit, exit, "{line}: {}", came.err);
        assert!(came.err.contains(words), "{line}: {}", came.err);
    }
    let known = desk.command(&format!("ls {private}/site")).env("REGISTRY_AUTH_FILE", "docker.json").output().unwrap();
    let came = Came::from(known);
    assert!(came.exit == 3 && came.err.contains("hint: check user and password"), "{came:?}");
}

/// A server that answers each connection once; it ends with the tests.
fn answering<C>(serve: impl Fn(TcpStream) -> C + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serve(stream);
        }
    });
    addr
}

/// A registry that lets in who says a secret, in base64 as it stands in the header.
fn locked(secret: &'static str) -> String {
    answering(move |mut stream| {
        let mut head = [0; 4096];
        let len = stream.read(&mut head).unwrap_or(0);
        let is_known = String::from_utf8_lossy(&head[..len]).contains(secret);
        let (status, body) = if is_known { ("200 OK", "{}") } else { ("401 Unauthorized", "") };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    })
}

/// A server with a certificate that nobody trusts.
fn self_signed() -> String {
    use rustls::pki_types::pem::PemObject;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = include_bytes!("../../../http/tests/tls/server.cert");
    let chain = vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate).unwrap()];
    let key = include_bytes!("../../../http/tests/tls/server.key");
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key).unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    answering(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut tls = rustls::Stream::new(&mut tls, &mut stream);
        let _ = tls.read(&mut [0; 4096]);
        write!(tls, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}")
    })
}
