// The example configuration of agentd's README as it was published, which has to be accepted as it stands.

/// Two profiles, one of them with a schedule, both with a credential; no [daemon] table and no mounts.
let seedExample = #"""
  # Static profile registry for agentd.
  # A profile can carry its own default repo and optional schedule.

  #[daemon]
  # Optional explicit host path for persistent audit records. Rootless installs
  # default to $XDG_STATE_HOME/tesserine/audit, falling back to
  # $HOME/.local/state/tesserine/audit when XDG_STATE_HOME is unset.
  # Root-owned system installs should typically point this at
  # /var/lib/tesserine/audit.
  #audit_root = "/var/lib/tesserine/audit"

  [[profiles]]
  # Stable operator-facing profile name used for lookup and container identity.
  name = "site-builder"
  # Prebuilt image containing the agent runtime and runa.
  base_image = "ghcr.io/example/site-builder:latest"
  # Methodology directory to mount read-only into the session environment.
  methodology_dir = "../groundwork"
  # Default repository URL cloned for manual runs when `agentd run` omits a repo,
  # and for every scheduled run of this profile.
  repo = "https://github.com/pentaxis93/agentd.git"
  # Optional five-field cron expression in daemon-local time.
  schedule = "*/15 * * * *"
  # Static session command executed from the cloned repository. This profile is
  # tightly bound to one app, so the session repo is the project being built.
  command = [
  "/bin/sh",
  "-lc",
  '''
  runa init --methodology /agentd/methodology/manifest.toml
  cat > .runa/config.toml <<'EOF'
  [agent]
  command = ["site-builder", "exec"]
  EOF
  if [ -n "${AGENTD_WORK_UNIT:-}" ]; then
  exec runa run --work-unit "${AGENTD_WORK_UNIT}"
  fi
  exec runa run
  ''',
  ]
  # Optional environment variable name resolved by the daemon for clone-only
  # repository authentication. This value does not flow into the agent runtime.
  repo_token_source = "SITE_BUILDER_REPO_TOKEN"

  #[[profiles.mounts]]
  # Additional host bind mounts are declared explicitly per profile.
  # `source` must be an absolute host path and must already exist.
  # `target` must be an absolute path inside the container and must not
  # duplicate or overlap another mount target in the same profile.
  # `read_only = true` is appropriate for host-managed auth directories.
  #source = "/home/core/.claude"
  #target = "/home/site-builder/.claude"
  #read_only = true

  [[profiles.credentials]]
  # Secret name exposed inside the session environment.
  name = "GITHUB_TOKEN"
  # Environment variable name read from the daemon's own process environment.
  source = "AGENTD_GITHUB_TOKEN"

  [[profiles]]
  # A home-repo review agent that carries its own review configuration and scans
  # repositories beyond the repo used to launch the session.
  name = "code-reviewer"
  base_image = "ghcr.io/example/code-reviewer:latest"
  methodology_dir = "../groundwork"
  repo = "https://github.com/pentaxis93/agentd.git"
  command = [
  "/bin/sh",
  "-lc",
  '''
  runa init --methodology /agentd/methodology/manifest.toml
  cat > .runa/config.toml <<'EOF'
  [agent]
  command = ["code-reviewer", "exec"]
  EOF
  if [ -n "${AGENTD_WORK_UNIT:-}" ]; then
  exec runa run --work-unit "${AGENTD_WORK_UNIT}"
  fi
  exec runa run
  ''',
  ]
  repo_token_source = "CODE_REVIEWER_REPO_TOKEN"

  [[profiles.credentials]]
  name = "GITHUB_TOKEN"
  source = "AGENTD_GITHUB_TOKEN"

  """#
