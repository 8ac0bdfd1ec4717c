//! The life of the process, on one page: arguments, configuration, log, work until a signal, exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use ecsbeat::app::{App, Outcome};
use ecsbeat::cli::{self, Cli, Command};
use ecsbeat::clock::Clock;
use ecsbeat::config::{self, Config, Http};
use ecsbeat::operate::Request;
use ecsbeat::progress::Progress;
use ecsbeat::shutdown::Signals;
use ecsbeat::telemetry::{log, panics};
use ecsbeat::{check, http, keystore, operate, setup, version};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    // Until the log is set up, and for commands that have none.
    std::panic::set_hook(Box::new(|panic| {
        complain(&format!("{}\n", panics::describe(panic)));
    }));
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => {
            if exit.code == cli::OK {
                say(&exit.text);
            } else {
                complain(&exit.text);
            }
            return exit.code.into();
        }
    };
    match &cli.command {
        Command::Version => {
            say(&format!("{}\n", version::line()));
            return cli::OK.into();
        }
        Command::Health { leader, url } => return health(*leader, url.as_deref(), &cli),
        Command::Completion(shell) => {
            say(&cli::completion(*shell));
            return cli::OK.into();
        }
        Command::ExportMan => {
            return match cli::manual() {
                Ok(page) => {
                    say(&page);
                    cli::OK.into()
                }
                Err(error) => {
                    complain(&format!("Exiting: {error}\n"));
                    cli::FAILURE.into()
                }
            };
        }
        Command::Keystore(order) => return keep(order, &cli),
        // What is printed is what is written: it need not make sense yet.
        Command::ExportConfig => {
            return match config::merged(&sources(&cli)) {
                Ok(yaml) => {
                    say(&yaml);
                    cli::OK.into()
                }
                Err(errors) => invalid(&errors),
            };
        }
        // A look at a cluster from afar needs no configuration.
        Command::Operate { request, target }
            if matches!(request, Request::Status { .. }) && target.url.is_some() && cli.files.is_empty() =>
        {
            return on_runtime(async { Ok(operate::ask(request, target, &Http::default()).await?) });
        }
        _ => {}
    }
    let config = match config::load(&sources(&cli), &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(errors) => return invalid(&errors),
    };
    match start(&cli.command, config) {
        Ok(Outcome::Well) => cli::OK.into(),
        Ok(Outcome::Incomplete) => cli::FAILURE.into(),
        Err(error) => {
            complain(&format!("Exiting: {error:#}\n"));
            cli::FAILURE.into()
        }
    }
}

fn start(command: &Command, config: Config) -> anyhow::Result<Outcome> {
    let threads = config
        .max_procs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get().min(4)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match command {
            Command::TestConfig => check::config(&config),
            Command::TestOutput => check::outputs(&config).await,
            Command::TestEcs => check::ecs(&config).await,
            Command::Operate { request, target } => {
                let (text, outcome) = operate::ask(request, target, &config.http).await?;
                say(&text);
                Ok(outcome)
            }
            Command::Setup { force } => Ok(setup::setup(&config, *force).await?),
            Command::ExportTemplate => {
                say(&format!(
                    "{:#}\n",
                    ecsbeat::output::elasticsearch::index_template(&config.template)
                ));
                Ok(Outcome::Well)
            }
            _ => run(config).await,
        }
    });
    // A read of a hung disk or an address look-up must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn run(config: Config) -> anyhow::Result<Outcome> {
    let log = log::init(&config.logging)?;
    let mut signals = Signals::listen()?;
    // A panic is a defect; it belongs into the log, where somebody looks, and not only on stderr.
    panics::log();
    introduce(&config);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let stop = CancellationToken::new();
    let to_stderr = config.logging.to_stderr;
    let is_once = config.ecsbeat.once;
    let app = App::new(config, Clock::system())?;
    let mut once = app.once();
    let work = Box::pin(app.run(stop.clone()));
    let work = async {
        match (is_once, to_stderr) {
            (false, _) => work.await,
            // The log is there already.
            (true, true) => {
                let progress = Progress::as_lines("once", |line| tracing::info!("{line}"));
                progress.during(work, || once.look()).await
            }
            (true, false) => Progress::on_stderr("once").during(work, || once.look()).await,
        }
    };
    tokio::pin!(work);
    let result = tokio::select! {
        result = &mut work => result,
        name = signals.next() => {
            tracing::info!("Received signal \"{name}\", stopping");
            stop.cancel();
            tokio::select! {
                result = &mut work => result,
                name = signals.next() => {
                    tracing::error!("Received signal \"{name}\" again, giving up; what is queued is polled again after the next start");
                    log.flush(Duration::from_secs(1));
                    anyhow::bail!("stopped by a second signal");
                }
            }
        }
    };
    if let Err(error) = &result {
        tracing::error!("Exiting: {error}");
    }
    Ok(result?)
}

/// What somebody wants to know who gets nothing but this log.
fn introduce(config: &Config) {
    tracing::info!(
        version = version::VERSION,
        commit = version::COMMIT,
        "{}",
        version::line()
    );
    tracing::info!(
        home = %config.path.home.display(), config = %config.path.config.display(),
        data = %config.path.data.display(), logs = %config.path.logs.display(), "paths"
    );
    tracing::info!(
        config_hash = config.hash,
        config = config.redacted_yaml,
        "configuration"
    );
}

fn keep(order: &keystore::Order, cli: &Cli) -> ExitCode {
    let place = match config::keystore(&sources(cli), &|name| std::env::var(name).ok()) {
        Ok(place) => place,
        Err(errors) => return invalid(&errors),
    };
    match keystore::run(order, &place) {
        Ok(text) => {
            say(&text);
            cli::OK.into()
        }
        Err(error) => {
            complain(&format!("Exiting: {error}\n"));
            cli::FAILURE.into()
        }
    }
}

fn invalid(errors: &config::Errors) -> ExitCode {
    complain(&format!("Exiting: {errors}\n"));
    cli::INVALID_CONFIG.into()
}

fn health(leader: bool, url: Option<&str>, cli: &Cli) -> ExitCode {
    // Only where to ask, and whom to believe there, is in the configuration.
    let is_plain = |url: &str| {
        let scheme = url.split(':').next();
        !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
    };
    let http = if url.is_some_and(is_plain) {
        Http::default()
    } else {
        match config::http(&sources(cli), &|name| std::env::var(name).ok()) {
            Ok(http) => http,
            Err(errors) => return invalid(&errors),
        }
    };
    on_runtime(async {
        let probed = http::probe::probe(url, leader, &http).await;
        let outcome = if probed.healthy {
            Outcome::Well
        } else {
            Outcome::Incomplete
        };
        Ok((format!("{}\n", probed.line), outcome))
    })
}

/// Does what needs no configuration, says what came of it, and gives the code to exit with.
fn on_runtime(work: impl Future<Output = anyhow::Result<(String, Outcome)>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(work));
    match done {
        Ok((text, outcome)) => {
            say(&text);
            match outcome {
                Outcome::Well => cli::OK.into(),
                Outcome::Incomplete => cli::FAILURE.into(),
            }
        }
        Err(error) => {
            complain(&format!("Exiting: {error:#}\n"));
            cli::FAILURE.into()
        }
    }
}

fn sources(cli: &Cli) -> config::Sources {
    config::Sources {
        files: cli.files.clone(),
        overrides: cli.overrides.clone(),
        home: cli.paths.home.clone(),
        config: cli.paths.config.clone(),
        data: cli.paths.data.clone(),
        logs: cli.paths.logs.clone(),
        once: matches!(cli.command, Command::Run { once: true }),
        strict_perms: cli.strict_perms,
        log_to_stderr: cli.log_to_stderr,
        debug_selectors: cli.debug_selectors.clone(),
        verbose: cli.verbose,
        environment: match cli.environment {
            cli::Environment::Default => config::Environment::Default,
            cli::Environment::Container => config::Environment::Container,
            cli::Environment::Systemd => config::Environment::Systemd,
        },
    }
}

/// Text for the user, on stdout. A closed pipe is no reason to fail.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Text for the user, on stderr.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
