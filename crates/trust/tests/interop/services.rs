//! The services of Sigstore, as their projects publish them, on the loopback and without a database.
//!
//! Identities are vouched for by one's own provider, and certificates are entered into one's own log.

use std::env;
use std::fs::File;
use std::net::TcpListener;
use std::process::Child;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use skep_registry::Digest;
use skep_trust::PublicKey;
use skep_trust::testing::Sigstore;
use tempfile::TempDir;

use crate::world::World;
use crate::world::key;

/// How the log calls itself.
const LOG: &str = "rekor.interop.test";

/// Fulcio, Rekor of version 2 and a timestamp authority; they end when this is dropped.
pub(crate) struct Services {
    world: World,
    runner: Sigstore,
    processes: Vec<Child>,
    _dir: TempDir,
}

impl Services {
    pub(crate) async fn start() -> Self {
        let provider = Arc::new(Sigstore::start().await.unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let runner = Sigstore::start().await.unwrap();
        let config = json!({
            "OIDCIssuers": {
                (provider.url()): {"IssuerURL": provider.url(), "ClientID": "sigstore", "Type": "email"},
                (runner.url()): {
                    "IssuerURL": runner.url(), "ClientID": "sigstore", "Type": "ci-provider", "CIProvider": "github",
                },
            },
            "CIIssuerMetadata": {"github": github()},
        });
        std::fs::write(path("fulcio.json"), config.to_string()).unwrap();
        std::fs::write(path("rekor.pem"), key("ed25519.pkcs8.pem")).unwrap();
        let [fulcio, fulcio_calls, fulcio_metrics, rekor, rekor_calls, rekor_metrics, stamps] = ports();
        let start = |variable: &str, arguments: &[&str]| {
            let command = env::var(variable).unwrap_or_else(|_| panic!("{variable} is a command"));
            let log = File::create(path(variable)).unwrap();
            let mut command = Command::new(command);
            command.arg("serve").args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
            command.spawn().unwrap()
        };
        let processes = vec![
            start(
                "SKEP_TEST_FULCIO",
                &[
                    "--ca=ephemeralca",
                    "--host=127.0.0.1",
                    "--grpc-host=127.0.0.1",
                    "--port",
                    &fulcio,
                    "--grpc-port",
                    &fulcio_calls,
                    "--metrics-port",
                    &fulcio_metrics,
                    "--config-path",
                    &path("fulcio.json"),
                    "--ct-log-url",
                    provider.url(),
                    "--legacy-unix-domain-socket",
                    &path("fulcio.socket"),
                ],
            ),
            start(
                "SKEP_TEST_REKOR",
                &[
                    "--storage-dir",
                    &path("tiles"),
                    "--signer-filepath",
                    &path("rekor.pem"),
                    "--hostname",
                    LOG,
                    "--http-port",
                    &rekor,
                    "--grpc-port",
                    &rekor_calls,
                    "--http-metrics-port",
                    &rekor_metrics,
                    "--checkpoint-interval=100ms",
                    "--batch-max-age=10ms",
                ],
            ),
            start(
                "SKEP_TEST_TIMESTAMPS",
                &["--timestamp-signer=memory", "--disable-ntp-monitoring", "--host=127.0.0.1", "--port", &stamps],
            ),
        ];
        let url = |port: &str, path: &str| format!("http://127.0.0.1:{port}{path}");
        let bundle: Value = serde_json::from_str(&get(&url(&fulcio, "/api/v2/trustBundle"))).unwrap();
        let authorities: Vec<Value> = bundle["chains"]
            .as_array()
            .unwrap()
            .iter()
            .map(|chain| {
                let pem: Vec<_> =
                    chain["certificates"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
                authority("fulcio", &pem.join("\n"))
            })
            .collect();
        let stamping = get(&url(&stamps, "/api/v1/timestamp/certchain"));
        get(&url(&rekor, "/healthz"));

        let mut root: Value = serde_json::from_str(&provider.trusted_root()).unwrap();
        root["certificateAuthorities"] = json!(authorities);
        root["timestampAuthorities"] = json!([authority("timestamps", &stamping)]);
        root["tlogs"] = json!([log()]);
        let service = |url: String, version: u32| json!([{"url": url, "majorApiVersion": version, "operator": "skep", "validFor": valid()}]);
        let mut config: Value = serde_json::from_str(&provider.signing_config()).unwrap();
        config["caUrls"] = service(url(&fulcio, ""), 1);
        config["rekorTlogUrls"] = service(url(&rekor, ""), 2);
        config["tsaUrls"] = service(url(&stamps, "/api/v1/timestamp"), 1);
        let world = World::new("services of Sigstore", root.to_string(), config, provider);
        Self { world, runner, processes, _dir: dir }
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Who vouches for runs of workflows.
    pub(crate) fn runner(&self) -> &Sigstore {
        &self.runner
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What Fulcio writes of a run on GitHub, as the public one is configured.
fn github() -> Value {
    json!({
        "DefaultTemplateValues": {"url": "https://github.com"},
        "ExtensionTemplates": {
            "GithubWorkflowTrigger": "event_name",
            "GithubWorkflowSHA": "sha",
            "GithubWorkflowRepository": "repository",
            "GithubWorkflowRef": "ref",
            "BuildSignerURI": "{{ .url }}/{{ .job_workflow_ref }}",
            "RunnerEnvironment": "runner_environment",
            "SourceRepositoryURI": "{{ .url }}/{{ .repository }}",
            "SourceRepositoryDigest": "sha",
            "SourceRepositoryRef": "ref",
            "SourceRepositoryOwnerURI": "{{ .url }}/{{ .repository_owner }}",
            "BuildConfigURI": "{{ .url }}/{{ .workflow_ref }}",
            "BuildTrigger": "event_name",
            "RunInvocationURI": "{{ .url }}/{{ .repository }}/actions/runs/{{ .run_id }}/attempts/{{ .run_attempt }}",
        },
        "SubjectAlternativeNameTemplate": "{{ .url }}/{{ .job_workflow_ref }}",
    })
}

/// The log, as a trusted root has it. Its key is of the kind that the public one has, too.
fn log() -> Value {
    let key = PublicKey::from_pem(&key("ed25519.pub")).unwrap();
    let der = key.to_der();
    // A signed note is by a key with a name (https://c2sp.org/signed-note, 1 is Ed25519).
    let id = Digest::sha256(&[LOG.as_bytes(), b"\n\x01", &der[der.len() - 32..]].concat());
    json!({
        "baseUrl": format!("https://{LOG}"),
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": STANDARD.encode(der), "keyDetails": "PKIX_ED25519", "validFor": valid()},
        "logId": {"keyId": STANDARD.encode(id.hash())},
    })
}

fn authority(name: &str, chain: &str) -> Value {
    let certificates: Vec<Value> = pem::parse_many(chain)
        .unwrap()
        .iter()
        .map(|one| json!({"rawBytes": STANDARD.encode(one.contents())}))
        .collect();
    json!({
        "subject": {"organization": "skep", "commonName": name},
        "uri": format!("https://{name}.interop.test"),
        "certChain": {"certificates": certificates},
        "validFor": valid(),
    })
}

fn valid() -> Value {
    json!({"start": "2020-01-01T00:00:00Z"})
}

/// What is at an address, as soon as somebody answers.
fn get(url: &str) -> String {
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "--fail",
        "--retry",
        "60",
        "--retry-delay",
        "1",
        "--retry-connrefused",
        "--max-time",
        "60",
        url,
    ]);
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Ports that were free just now.
fn ports<const N: usize>() -> [String; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port().to_string())
}
