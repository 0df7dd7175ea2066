//! Which bus a client command talks to, and with which API key.

use std::env::VarError;
use std::ffi::OsString;
use std::path::Path;

use crate::client::Client;

use super::exit::Failure;

/// The bus's address.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// Base URL of the bus.
    #[arg(
        long,
        env = "EVENTYARD_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// File with the API key, where the bus asks for one; EVENTYARD_API_KEY may hold it instead.
    // The paths are text, since a variable that is set to nothing is as good as none.
    #[arg(long, env = "EVENTYARD_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Option<OsString>,
    /// File with the authorities, in PEM, that are trusted to vouch for the bus, and no others.
    #[arg(long, env = "EVENTYARD_CA", value_name = "FILE")]
    pub(crate) ca: Option<OsString>,
    /// File with a certificate to show, in PEM, where the bus asks for one.
    #[arg(long, env = "EVENTYARD_CERT", value_name = "FILE")]
    pub(crate) cert: Option<OsString>,
    /// File with its private key, unless that stands in the certificate's file.
    #[arg(long, env = "EVENTYARD_CERT_KEY", value_name = "FILE")]
    pub(crate) cert_key: Option<OsString>,
}

/// Holds the API key. No flag does: others can see a program's arguments.
const ENV_API_KEY: &str = "EVENTYARD_API_KEY";

/// The bus's address, and which of its buses.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BusArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The bus by name.
    #[arg(
        long,
        short,
        env = "EVENTYARD_BUS",
        default_value = "default",
        value_name = "NAME"
    )]
    pub(crate) bus: String,
}

impl ServerArgs {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let mut client = Client::builder(&self.url);
        if let Some(key) = self.api_key()? {
            client = client.api_key(key.trim());
        }
        if let Some(path) = given(&self.ca) {
            client = client.authorities(read("the authorities", path)?);
        }
        match (given(&self.cert), given(&self.cert_key)) {
            (None, None) => {}
            (Some(cert), key) => {
                let mut pem = read("the certificate", cert)?;
                if let Some(key) = key {
                    pem.push('\n');
                    pem.push_str(&read("the certificate's private key", key)?);
                }
                client = client.identity(pem);
            }
            (None, Some(_)) => {
                return Err(Failure::usage(
                    "a private key was named, and no certificate; name that with --cert",
                ));
            }
        }
        Ok(client.build()?)
    }

    fn api_key(&self) -> Result<Option<String>, Failure> {
        let Some(path) = given(&self.api_key_file) else {
            return match std::env::var(ENV_API_KEY) {
                Ok(key) => Ok(Some(key).filter(|key| !key.trim().is_empty())),
                Err(VarError::NotPresent) => Ok(None),
                // Its error repeats the value.
                Err(VarError::NotUnicode(_)) => {
                    Err(Failure::usage(format!("{ENV_API_KEY} is not UTF-8 text")))
                }
            };
        };
        let key = read("the API key", path)?;
        match key.trim() {
            "" => Err(Failure::usage(format!(
                "{} is empty, and should hold an API key",
                path.display()
            ))),
            _ => Ok(Some(key)),
        }
    }
}

/// A path that was set; a variable that is set to nothing is as good as none.
fn given(path: &Option<OsString>) -> Option<&Path> {
    let path = path.as_deref().map(Path::new);
    path.filter(|path| !path.as_os_str().is_empty())
}

fn read(what: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read {what} in {}: {error}", path.display()))
    })
}

impl BusArgs {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.server.client()
    }
}
