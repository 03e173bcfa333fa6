//! Peers that are asked line by line, by a script that has their library.

use std::cell::RefCell;
use std::env;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::peer::Case;
use crate::peer::Expected;
use crate::peer::How;
use crate::peer::Peer;
use crate::world::World;

/// A script that runs until this is dropped.
pub(crate) struct Lines {
    name: &'static str,
    process: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Lines {
    pub(crate) fn python() -> Self {
        let python = env::var("SKEP_TEST_SIGSTORE_PYTHON").expect("SKEP_TEST_SIGSTORE_PYTHON is a Python");
        Self::start("sigstore-python", Command::new(python).arg(script("sigstore_python.py")))
    }

    pub(crate) fn javascript() -> Self {
        let dir = env::var("SKEP_TEST_SIGSTORE_JS").expect("SKEP_TEST_SIGSTORE_JS is a directory");
        Self::start("sigstore-js", Command::new("node").arg(script("sigstore_js.mjs")).arg(dir))
    }

    fn start(name: &'static str, command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pipes = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { name, process, pipes: RefCell::new(pipes) }
    }

    fn ask(&self, question: &Value) -> Result<Value, String> {
        let (questions, answers) = &mut *self.pipes.borrow_mut();
        let mut answer = String::new();
        tokio::task::block_in_place(|| {
            writeln!(questions, "{question}").unwrap();
            answers.read_line(&mut answer).unwrap();
        });
        let answer: Value = serde_json::from_str(&answer).expect("a script answers each line");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

impl Peer for Lines {
    fn name(&self) -> &str {
        self.name
    }

    fn sign(&self, world: &World, case: Case, artifact: &Bytes) -> Result<Bytes, String> {
        let is_logged = case.how != How::Key;
        let mut question = json!({
            "do": "sign", "root": world.root, "config": world.config(is_logged), "artifact": STANDARD.encode(artifact),
        });
        match case.how {
            How::Identity => question["token"] = json!(world.token()),
            How::Key | How::LoggedKey => question["key"] = json!(world.private_key()),
        }
        if let Some(statement) = case.what.statement(artifact) {
            question["statement"] = json!(STANDARD.encode(statement));
        }
        let answer = self.ask(&question)?;
        Ok(Bytes::from(answer["bundle"].as_str().unwrap().to_owned()))
    }

    fn verify(&self, world: &World, case: Case, expected: &Expected, bundle: &Bytes) -> Result<(), String> {
        let mut question = json!({
            "do": "verify", "root": world.root, "config": world.config(true), "bundle": String::from_utf8_lossy(bundle),
            "artifact": STANDARD.encode(&expected.artifact), "log": case.how != How::Key,
        });
        match case.how {
            How::Identity => {
                question["identity"] = json!(expected.identity);
                question["issuer"] = json!(world.issuer());
            }
            How::Key | How::LoggedKey => question["key"] = json!(expected.key),
        }
        self.ask(&question).map(drop)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.ci/peers").join(name)
}
