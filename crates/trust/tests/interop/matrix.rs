//! The matrix: who signs, who verifies, what, with what, and where; and that others are refused.

use bytes::Bytes;
use serde_json::json;
use skep_registry::media_type;

use crate::cosign::Cosign;
use crate::is_whole;
use crate::lines::Lines;
use crate::peer::Case;
use crate::peer::Expected;
use crate::peer::How;
use crate::peer::Peer;
use crate::peer::What;
use crate::skep::Skep;
use crate::world::EMAIL;
use crate::world::World;

/// Prints every cell, and remembers those that are not as they should be.
pub(crate) struct Matrix {
    peers: [Box<dyn Peer>; 4],
    hold: usize,
    refused: usize,
    cannot: usize,
    wrong: Vec<String>,
}

impl Matrix {
    pub(crate) fn new() -> Self {
        let peers: [Box<dyn Peer>; 4] =
            [Box::new(Skep), Box::new(Cosign), Box::new(Lines::python()), Box::new(Lines::javascript())];
        Self { peers, hold: 0, refused: 0, cannot: 0, wrong: Vec::new() }
    }

    /// Lets everybody sign, and everybody verify that.
    pub(crate) fn fill(&mut self, world: &World, how: How) {
        let artifact = manifest("site");
        for what in whats() {
            let case = Case { how, what: *what };
            for signer in 0..self.peers.len() {
                let name = self.peers[signer].name().to_owned();
                let place = format!("{}, log {}, {}: {how:?} {what:?}: {name}", world.name, world.log, world.key);
                let signed = self.peers[signer].sign(world, case, &artifact);
                match (signed, cannot_sign(&name, world, case)) {
                    (Ok(bundle), None) => self.verify(world, case, (&name, &place), &artifact, &bundle),
                    (Err(_), Some(why)) => self.cannot(&format!("{place} cannot sign: {why}")),
                    (Ok(_), Some(why)) => self.wrong(format!("{place} signed, though: {why}")),
                    (Err(error), None) => self.wrong(format!("{place} did not sign: {error}")),
                }
            }
        }
    }

    fn verify(&mut self, world: &World, case: Case, signer: (&str, &str), artifact: &Bytes, bundle: &Bytes) {
        let (signer, place) = signer;
        let expected = Expected { artifact: artifact.clone(), identity: EMAIL.to_owned(), key: world.public_key() };
        let strangers = [
            ("another artifact", Expected { artifact: manifest("another"), ..expected.clone() }),
            ("another signer", Expected { identity: format!("not-{EMAIL}"), key: stranger(), ..expected.clone() }),
        ];
        for verifier in 0..self.peers.len() {
            let name = self.peers[verifier].name().to_owned();
            let place = format!("{place} -> {name}");
            let verified = self.peers[verifier].verify(world, case, &expected, bundle);
            match (verified, cannot_verify(&name, signer, world, case)) {
                (Ok(()), None) => {
                    self.hold += 1;
                    println!("{place}: holds");
                }
                (Err(_), Some(why)) => {
                    self.cannot(&format!("{place} cannot verify: {why}"));
                    continue;
                }
                (Ok(()), Some(why)) => self.wrong(format!("{place} holds, though: {why}")),
                (Err(error), None) => {
                    self.wrong(format!("{place} does not hold: {error}"));
                    continue;
                }
            }
            for (what, stranger) in &strangers {
                match self.peers[verifier].verify(world, case, stranger, bundle) {
                    Ok(()) => self.wrong(format!("{place} holds for {what}")),
                    Err(_) => {
                        self.refused += 1;
                        println!("{place}: refused for {what}");
                    }
                }
            }
        }
    }

    fn cannot(&mut self, what: &str) {
        self.cannot += 1;
        println!("{what}");
    }

    fn wrong(&mut self, what: String) {
        println!("WRONG: {what}");
        self.wrong.push(what);
    }

    /// Fails unless all was as it should be.
    pub(crate) fn finish(self) {
        println!("{} hold, {} refused, {} cannot, {} wrong", self.hold, self.refused, self.cannot, self.wrong.len());
        assert_eq!(self.wrong, Vec::<String>::new());
    }
}

fn whats() -> &'static [What] {
    if is_whole() { &What::ALL } else { &[What::Signature] }
}

/// A manifest that no other name gives.
fn manifest(name: &str) -> Bytes {
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [], "annotations": {"name": name},
    });
    index.to_string().into()
}

/// The public half of a key that nobody has signed with.
fn stranger() -> String {
    skep_trust::PrivateKey::generate().unwrap().public_key().to_pem()
}

/// Why somebody cannot sign something. The list is exact: whoever can and is on it fails the test, too.
fn cannot_sign(signer: &str, world: &World, case: Case) -> Option<&'static str> {
    let by_key = case.how != How::Identity;
    let in_tiles = case.how != How::Key && world.log == 2;
    match signer {
        "cosign" if world.key == ED25519 => Some("it refuses what it has signed itself with this kind of key"),
        "sigstore-python" if by_key => Some("it signs with identities only"),
        "sigstore-js" if in_tiles && by_key => Some("it enters a key as if it were a certificate"),
        "sigstore-js" if in_tiles && case.what != What::Message => {
            Some("it wants an entry dsse, which Rekor 2 gave up")
        }
        _ => None,
    }
}

/// Why somebody cannot verify what somebody signed; exact as well.
fn cannot_verify(verifier: &str, signer: &str, world: &World, case: Case) -> Option<&'static str> {
    let by_key = case.how != How::Identity;
    let in_tiles = case.how != How::Key && world.log == 2;
    let is_statement = case.what != What::Message;
    // The hash that goes with the key, which sigstore-js does not sign with.
    let is_sha384 = world.key == P384 && signer != "sigstore-js";
    match verifier {
        "cosign" if is_sha384 => Some("it verifies with SHA-256 whatever the key is, and signs otherwise"),
        "cosign" if by_key && is_statement && signer == "sigstore-js" => {
            Some("the envelope names the key by the hint of the bundle, and cosign goes by another name")
        }
        "sigstore-python" if by_key => Some("it verifies identities only"),
        "sigstore-js" if in_tiles && is_statement => Some("it knows no hashedrekord of an envelope"),
        "sigstore-js" if is_sha384 && is_statement => Some("it verifies envelopes with SHA-256 whatever the key is"),
        "sigstore-js" if world.key == ED25519 && !is_statement => Some("it hashes messages first"),
        _ => None,
    }
}

/// Keys that not everybody knows.
pub(crate) const ED25519: &str = "ed25519.pkcs8.pem";
pub(crate) const P384: &str = "p384.pkcs8.pem";
