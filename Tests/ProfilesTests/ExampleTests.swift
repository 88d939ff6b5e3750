// The examples: the published one and the repository's own are accepted and mean what they say.

import FoundationEssentials
import Profiles
import Testing

@Suite("An example configuration")
struct ExampleTests {
  @Test("the published example is accepted as it stands")
  func published() throws {
    let configuration = try configuration(seedExample)
    #expect(configuration.path == "/etc/agentd/agentd.toml")
    #expect(configuration.daemon.socketPath == "/run/agentd/agentd.sock")
    #expect(configuration.daemon.auditRoot == "/root/.local/state/tesserine/audit")
    #expect(configuration.profiles.map(\.name) == ["site-builder", "code-reviewer"])
    let builder = try #require(configuration.profile(named: "site-builder"))
    #expect(builder.baseImage == "ghcr.io/example/site-builder:latest")
    #expect(builder.methodologyDirectory == "/etc/groundwork")
    #expect(builder.repository?.text == "https://github.com/pentaxis93/agentd.git")
    #expect(builder.schedule?.schedule.expression.text == "*/15 * * * *")
    #expect(builder.repositoryTokenSource == "SITE_BUILDER_REPO_TOKEN")
    #expect(builder.mounts.isEmpty)
    #expect(builder.credentials == [Credential(name: "GITHUB_TOKEN", source: "AGENTD_GITHUB_TOKEN")])
    #expect(builder.command.count == 3)
    #expect(builder.command[0...1] == ["/bin/sh", "-lc"])
    #expect(builder.command[2].hasPrefix("runa init --methodology /agentd/methodology/manifest.toml\n"))
    #expect(builder.command[2].hasSuffix("fi\nexec runa run\n"))
    let reviewer = try #require(configuration.profile(named: "code-reviewer"))
    #expect(reviewer.schedule == nil)
    #expect(configuration.profile(named: "nobody-else") == nil)
  }

  @Test("all variables that hold secrets are named, the clone tokens among them")
  func secretVariables() throws {
    #expect(
      try configuration(seedExample).secretVariables
        == ["AGENTD_GITHUB_TOKEN", "SITE_BUILDER_REPO_TOKEN", "CODE_REVIEWER_REPO_TOKEN"])
  }

  @Test("examples/agentd.toml is accepted from its file")
  func ownExample() throws {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let configuration = try Configuration.load(path: "/\(root)/examples/agentd.toml", host: testHost())
    #expect(configuration.profiles.map(\.name) == ["reviewer", "shell"])
    #expect(configuration.daemon.auditRoot == "/var/lib/tesserine/audit")
    #expect(configuration.profiles[0].methodologyDirectory == "/\(root)/examples/methodology")
    #expect(configuration.profiles[0].command.count == 3)
    #expect(configuration.secretVariables == ["REVIEWER_CLONE_TOKEN", "REVIEWER_MODEL_API_KEY"])
    let runs = try #require(configuration.profiles[0].schedule)
    #expect(runs.schedule.expression.text == "30 6 * * MON-FRI")
    #expect(runs.timezone == nil)
    #expect(configuration.profiles[1].schedule == nil)
  }

  @Test("what examples/agentd.toml shows of schedules in comments is accepted as well")
  func ownExampleInFull() throws {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    var text = try String(contentsOfFile: "/\(root)/examples/agentd.toml", encoding: .utf8)
    for key in ["timezone", "overlap", "jitter"] {
      text = text.replacing("# \(key) = ", with: "\(key) = ")
    }
    let runs = try #require(try configuration(text).profiles[0].schedule)
    #expect(runs.timezone == "Europe/Berlin")
    #expect(runs.overlap == .skip)
    #expect(runs.schedule.jitter == .seconds(30))
  }
}
