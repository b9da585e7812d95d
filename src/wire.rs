//! Where adapters meet ports.

use std::sync::Arc;

use tagwarden_app::ports::{
    Access, AccountTarget, FindingSink, Identity, Inventory, Onboarding, Refused, RefusedBecause, Traffic,
};
use tagwarden_aws::{AwsError, AwsInventory, AwsSession, AwsSettings, AwsVisit};
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::registry::Registry;
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_store::{RunRecorder, StoreError};
use tokio::sync::OnceCell;

use crate::render::writer::{OutputError, ReportWriter};

/// Listings side by side in one region of one account: enough to hide their latency behind one another, few
/// enough that a region takes a handful of connections.
pub const LISTINGS_PER_REGION: usize = 8;

/// The resources of AWS accounts, through the credentials of the environment.
pub async fn inventory(registry: &Arc<Registry>) -> Result<AwsInventory, AwsError> {
    let ca_bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(Into::into);
    AwsInventory::connect(AwsSettings { ca_bundle, ..AwsSettings::new(Arc::clone(registry)) }).await
}

/// The same, made ready when it is first needed: certificates, profiles and clients take memory and, where AWS is far,
/// time that a controller without work does not have to spend.
#[derive(Debug)]
pub struct LazyInventory {
    registry: Arc<Registry>,
    made: OnceCell<AwsInventory>,
}

impl LazyInventory {
    /// Over these types.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, made: OnceCell::new() }
    }

    /// The adapter. One that cannot be made is tried again by the next who asks.
    pub async fn get(&self) -> Result<&AwsInventory, AwsError> {
        self.made.get_or_try_init(|| inventory(&self.registry)).await
    }
}

impl Inventory for LazyInventory {
    type Session = AwsSession;

    async fn enter(&self, target: &AccountTarget) -> Result<AwsSession, Gap> {
        match self.get().await {
            Ok(inventory) => inventory.enter(target).await,
            Err(error) => Err(Gap { state: CellState::Failed, cause: error.to_string() }),
        }
    }

    fn traffic(&self) -> Traffic {
        self.made.get().map(Inventory::traffic).unwrap_or_default()
    }

    fn throttled(&self) -> u64 {
        self.made.get().map(Inventory::throttled).unwrap_or_default()
    }
}

impl Onboarding for LazyInventory {
    type Visit = AwsVisit;

    async fn whoami(&self) -> Result<Identity, Refused> {
        self.get().await.map_err(|error| not_made(&error))?.whoami().await
    }

    async fn visit(&self, access: &Access) -> Result<AwsVisit, Refused> {
        self.get().await.map_err(|error| not_made(&error))?.visit(access).await
    }
}

fn not_made(error: &AwsError) -> Refused {
    Refused { because: RefusedBecause::Failed, cause: error.to_string() }
}

/// Findings for the reader, and for the store where there is one. A store that fails on the way costs the
/// record, not the result: the document is written all the same, and the failure is told at the end.
pub struct Recorded {
    writer: ReportWriter,
    recorder: Option<RunRecorder>,
    failure: Option<StoreError>,
}

impl Recorded {
    pub fn new(writer: ReportWriter, recorder: Option<RunRecorder>) -> Self {
        Self { writer, recorder, failure: None }
    }

    /// What became of the record.
    pub fn close(self) -> Result<(), StoreError> {
        self.failure.map_or(Ok(()), Err)
    }

    fn recorded(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            self.recorder = None;
            self.failure = Some(error);
        }
    }
}

impl FindingSink for Recorded {
    type Error = OutputError;

    async fn findings(&mut self, rows: &[ViolationRow]) -> Result<(), OutputError> {
        if let Some(recorder) = &mut self.recorder {
            let result = recorder.findings(rows).await;
            self.recorded(result);
        }
        self.writer.findings(rows).await
    }

    async fn finish(&mut self, report: &ScanReport) -> Result<(), OutputError> {
        if let Some(recorder) = &mut self.recorder {
            let result = recorder.finish(report).await;
            self.recorded(result);
        }
        self.writer.finish(report).await
    }
}
