//! Keys of OpenPGP: which of their parts may sign, and until when.

use pgp::composed::Deserializable;
use pgp::composed::DetachedSignature;
use pgp::composed::SignedPublicKey;
use pgp::packet::Signature;
use pgp::packet::SignatureType;
use pgp::types::KeyDetails;
use pgp::types::Timestamp;

/// A key whose signatures over itself hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PgpKey(SignedPublicKey);

impl PgpKey {
    pub(super) fn parse(armoured: &str) -> Result<Self, String> {
        if armoured.len() > MAX_KEY {
            return Err(format!("larger than {MAX_KEY} bytes"));
        }
        let (key, _) = SignedPublicKey::from_string(armoured).map_err(|error| error.to_string())?;
        Ok(Self(key))
    }

    /// The hash of the primary key, hexadecimal.
    pub(super) fn fingerprint(&self) -> String {
        self.0.primary_key.fingerprint().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether the key, or one of its subkeys that may sign, made a signature; by now, nothing of it is expired or revoked.
    pub(super) fn verifies(&self, message: &[u8], armoured: &str) -> bool {
        let Ok((signature, _)) = DetachedSignature::from_string(armoured) else { return false };
        let of = &signature.signature;
        if of.typ() != Some(SignatureType::Binary) || is_over(of.created(), of.signature_expiration_time()) {
            return false;
        }
        let primary = &self.0.primary_key;
        // The newest of what the key says of itself holds.
        let users = self.0.details.users.iter().flat_map(|user| {
            user.signatures
                .iter()
                .filter(|own| own.verify_certification(primary, pgp::types::Tag::UserId, &user.id).is_ok())
        });
        let direct = self.0.details.direct_signatures.iter().filter(|own| own.verify_key(primary).is_ok());
        let Some(own) = users.chain(direct).max_by_key(|own| own.created()) else { return false };
        let revocations = &self.0.details.revocation_signatures;
        let is_revoked = revocations.iter().any(|revocation| revocation.verify_key(primary).is_ok());
        let is_withdrawn = own.typ() == Some(SignatureType::CertRevocation);
        if is_revoked || is_withdrawn || is_over(Some(primary.created_at()), own.key_expiration_time()) {
            return false;
        }
        if may_sign(own) && of.verify(primary, message).is_ok() {
            return true;
        }
        self.0.public_subkeys.iter().any(|subkey| {
            let holds = |binding: &&Signature| binding.verify_subkey_binding(primary, &subkey.key).is_ok();
            let mut bindings = subkey.signatures.iter().filter(holds).collect::<Vec<_>>();
            let is_revoked = bindings.iter().any(|binding| binding.typ() == Some(SignatureType::SubkeyRevocation));
            bindings.sort_by_key(|binding| binding.created());
            let Some(binding) = bindings.last().filter(|_| !is_revoked) else { return false };
            // The subkey has to say that it belongs to the key, or anybody's could be taken for it.
            let back = binding.embedded_signature();
            let belongs = back.is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
            let is_over = is_over(Some(subkey.key.created_at()), binding.key_expiration_time());
            binding.key_flags().sign() && belongs && !is_over && of.verify(&subkey.key, message).is_ok()
        })
    }
}

/// Keys that do not say what they are for are for everything.
fn may_sign(own: &Signature) -> bool {
    let flags = own.key_flags();
    flags.sign() || flags == Default::default()
}

/// Whether something that lasts some seconds from its creation on is over; 0 lasts for ever.
fn is_over(created: Option<Timestamp>, lasts: Option<pgp::types::Duration>) -> bool {
    let Some(created) = created else { return true };
    let lasts = lasts.map_or(0, |lasts| u64::from(lasts.as_secs()));
    lasts > 0 && u64::from(created.as_secs()) + lasts < u64::from(Timestamp::now().as_secs())
}

const MAX_KEY: usize = 256 << 10;
