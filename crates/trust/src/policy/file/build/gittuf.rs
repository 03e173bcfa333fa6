//! The part of a policy file about gittuf.

use serde_saphyr::Spanned;

use super::Builder;
use super::Scope;
use crate::error::Result;
use crate::gittuf;
use crate::gittuf::GittufKey;
use crate::policy::Policy;
use crate::policy::file::schema::Gittuf;
use crate::policy::file::schema::RootKey;

impl Builder<'_> {
    pub(super) fn gittuf(&self, place: &Spanned<Gittuf>, scope: &Scope) -> Result<Policy> {
        let wrong = |error| self.wrong(place, error);
        let it = &place.value;
        let url = it.url.as_deref().unwrap_or(&it.repository);
        let rule = match (&it.directory, &it.cache) {
            (Some(directory), None) if it.url.is_none() => {
                gittuf::Gittuf::in_directory(&it.repository, self.base.join(directory))
            }
            (None, Some(cache)) => gittuf::Gittuf::mirrored_from(&it.repository, url, self.base.join(cache)),
            _ => return Err(self.wrong(place, "gittuf: wanted a cache to fetch into, or a directory and no url")),
        };
        let mut rule = rule.map_err(wrong)?;
        for key in &it.root_key.0 {
            rule = rule.with_root_key(root_key(key).map_err(wrong)?);
        }
        if it.root_key.0.is_empty() && !it.trust_first_root {
            return Err(self.wrong(place, "gittuf: wanted a root-key, or trust-first-root: true"));
        }
        // Identities can be among the keys of a policy, whoever signed its first root.
        let named = if it.trusted_root.0.is_empty() { &scope.roots } else { &it.trusted_root.0 };
        for root in self.roots(place, named)? {
            rule = rule.trust_root(&root).map_err(wrong)?;
        }
        if let Some(reference) = &it.reference {
            rule = rule.with_reference(reference);
        }
        let rule = rule
            .verify_whole_log(it.whole_log)
            .refuse_expired(it.refuse_expired)
            .trust_first_root(it.trust_first_root)
            .allow_missing_gittuf(it.allow_missing_gittuf)
            .allow_missing_provenance(it.allow_missing_provenance)
            .allow_unprotected(it.allow_unprotected);
        Ok(Policy::rule(self.signers(place, it.by.as_ref(), scope)?, rule))
    }
}

fn root_key(key: &RootKey) -> Result<GittufKey> {
    match key {
        RootKey::Identity(it) => Ok(GittufKey::identity(&it.identity, &it.issuer)),
        RootKey::Text(text) if text.trim_start().starts_with("-----BEGIN PGP") => GittufKey::pgp(text),
        RootKey::Text(text) => GittufKey::ssh(text.trim()),
    }
}
