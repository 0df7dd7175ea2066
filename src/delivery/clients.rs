//! The HTTP clients that requests go out through: one that most targets share, and one for each set
//! of certificates that rules name.

use std::sync::Arc;

use parking_lot::Mutex;

use super::next_step::Outcome;
use super::recent::Recent;
use super::signing::missing;
use super::wire::trust::{self, Identity, Trust, Unusable};
use super::wire::{Connections, TargetService, Ways};
use crate::guard::Guard;
use crate::limits;
use crate::rule::{SecretRef, Target, Tls};
use crate::secret::{Secret, SecretName, Secrets};

/// Every client; clones share them.
#[derive(Clone)]
pub struct Clients(Arc<Inner>);

struct Inner {
    /// For targets without `tls`.
    plain: TargetService,
    ways: Ways,
    with_certificates: Mutex<Recent<Wanted, Client>>,
    /// Held while a client is built: many attempts may find out at once that it is missing.
    building: tokio::sync::Mutex<()>,
}

/// What a client is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    tls: Tls,
    /// `ca` is trusted beside the public authorities, not in their place.
    with_public: bool,
}

struct Client {
    ca: Option<Arc<Secret>>,
    identity: Option<Arc<Secret>>,
    service: TargetService,
}

/// The secrets of one `tls`, as they are now.
struct Certificates {
    ca: Option<(SecretName, Arc<Secret>)>,
    identity: Option<(SecretName, Arc<Secret>)>,
}

/// The clients for targets, which connect only to what `guard` admits.
///
/// # Errors
/// The system has no certificates of authorities that read.
pub fn http_client(guard: &Guard, connections: &Connections) -> Result<Clients, String> {
    let ways = Ways::new(guard, connections);
    let tls = trust::config(Trust::Public, None).map_err(|error| error.to_string())?;
    Ok(Clients::new(ways.client(tls), ways))
}

/// Something in-process in the place of the network; `tls` needs the network.
impl From<TargetService> for Clients {
    fn from(service: TargetService) -> Self {
        Clients::new(service, Ways::new(&Guard::off(), &Connections::default()))
    }
}

impl Clients {
    fn new(plain: TargetService, ways: Ways) -> Self {
        Clients(Arc::new(Inner {
            plain,
            ways,
            with_certificates: Mutex::new(Recent::new(limits::TLS_CLIENTS)),
            building: tokio::sync::Mutex::default(),
        }))
    }

    /// The client for requests to the target.
    pub(super) async fn of(
        &self,
        target: &Target,
        secrets: &Secrets,
    ) -> Result<TargetService, Outcome> {
        match &target.tls {
            None => Ok(self.0.plain.clone()),
            Some(tls) => {
                let wanted = Wanted {
                    tls: tls.clone(),
                    with_public: false,
                };
                self.with_certificates(wanted, secrets).await
            }
        }
    }

    /// The client for requests to the target's token server: it may be the same house's, or one on
    /// the public internet. The identity is for the target alone.
    pub(super) async fn for_tokens(
        &self,
        target: &Target,
        secrets: &Secrets,
    ) -> Result<TargetService, Outcome> {
        let Some(ca) = target.tls.as_ref().and_then(|tls| tls.ca.clone()) else {
            return Ok(self.0.plain.clone());
        };
        let tls = Tls {
            ca: Some(ca),
            identity: None,
        };
        let wanted = Wanted {
            tls,
            with_public: true,
        };
        self.with_certificates(wanted, secrets).await
    }

    /// Drops the clients whose certificates are others by now; what is under way through them ends.
    pub(super) fn forget_all_but(&self, current: impl Fn(&Arc<Secret>) -> bool) {
        let keep = |client: &Client| client.ca.iter().chain(&client.identity).all(&current);
        self.0.with_certificates.lock().retain(keep);
    }

    async fn with_certificates(
        &self,
        wanted: Wanted,
        secrets: &Secrets,
    ) -> Result<TargetService, Outcome> {
        let certificates = Certificates::of(&wanted.tls, secrets).map_err(Outcome::NotPrepared)?;
        if let Some(service) = self.known(&wanted, &certificates) {
            return Ok(service);
        }
        let _alone = self.0.building.lock().await;
        if let Some(service) = self.known(&wanted, &certificates) {
            return Ok(service);
        }
        let ca = certificates.ca.as_ref().map(|(_, secret)| secret.clone());
        let identity = certificates.identity.as_ref();
        let identity = identity.map(|(_, secret)| secret.clone());
        let ways = self.0.ways.clone();
        let with_public = wanted.with_public;
        // Reads the system's certificates, and computes.
        let built = tokio::task::spawn_blocking(move || certificates.build(&ways, with_public));
        let built: Result<TargetService, String> = match built.await {
            Ok(built) => built,
            Err(_) => Err("the TLS client could not be built".to_owned()),
        };
        let service = built.map_err(Outcome::NotPrepared)?;
        let client = Client {
            ca,
            identity,
            service: service.clone(),
        };
        self.0.with_certificates.lock().insert(wanted, client);
        Ok(service)
    }

    fn known(&self, wanted: &Wanted, certificates: &Certificates) -> Option<TargetService> {
        let same = |one: &Option<Arc<Secret>>, other: &Option<(SecretName, Arc<Secret>)>| match (
            one, other,
        ) {
            (None, None) => true,
            (Some(one), Some((_, other))) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let mut clients = self.0.with_certificates.lock();
        let client = clients.get(wanted)?;
        (same(&client.ca, &certificates.ca) && same(&client.identity, &certificates.identity))
            .then(|| client.service.clone())
    }
}

impl Certificates {
    fn of(tls: &Tls, secrets: &Secrets) -> Result<Certificates, String> {
        let get = |reference: &Option<SecretRef>| match reference {
            None => Ok(None),
            Some(SecretRef { secret: name }) => match secrets.get(name) {
                Some(secret) => Ok(Some((name.clone(), secret))),
                None => Err(missing(name)),
            },
        };
        Ok(Certificates {
            ca: get(&tls.ca)?,
            identity: get(&tls.identity)?,
        })
    }

    /// The client; `Err` repeats nothing of a secret.
    fn build(&self, ways: &Ways, with_public: bool) -> Result<TargetService, String> {
        let trust = match &self.ca {
            None => Trust::Public,
            Some((name, secret)) => {
                let authorities = trust::certificates(secret.newest().value.expose());
                let authorities = authorities.ok_or_else(|| {
                    format!("the secret `{name}` holds no certificate in PEM; set it with `eventyard secret set {name} --from ca.pem`")
                })?;
                match with_public {
                    true => Trust::PublicAnd(authorities),
                    false => Trust::Only(authorities),
                }
            }
        };
        let identity = match &self.identity {
            None => None,
            Some((name, secret)) => {
                let identity = Identity::read(secret.newest().value.expose());
                Some(identity.ok_or_else(|| {
                    format!("the secret `{name}` holds no certificate with its private key in PEM, one after the other; set it with `eventyard secret set {name} --from identity.pem`")
                })?)
            }
        };
        match (trust::config(trust, identity), &self.ca, &self.identity) {
            (Ok(tls), ..) => Ok(ways.client(tls)),
            (Err(Unusable::Authority(_)), Some((name, _)), _) => Err(format!(
                "the secret `{name}` holds a certificate that does not read"
            )),
            (Err(Unusable::Identity(_)), _, Some((name, _))) => Err(format!(
                "the secret `{name}` is no identity: its private key does not read, or does not belong to its first certificate"
            )),
            (Err(other), ..) => Err(format!("the TLS client: {other}")),
        }
    }
}
