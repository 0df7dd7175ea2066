//! Which bus a client command talks to.

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
}

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
        Ok(Client::new(&self.url)?)
    }
}

impl BusArgs {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.server.client()
    }
}
