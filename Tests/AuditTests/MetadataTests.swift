// session.json as bytes.

import FoundationEssentials
import JSON
import Reactor
import Testing
import Time

@testable import Audit

@Suite("Metadata")
struct MetadataTests {
  @Test("what is not known yet is absent")
  func start() throws {
    let json = String(decoding: Metadata.example().json(), as: UTF8.self)
    #expect(
      json == """
        {
          "image": "localhost/base:1",
          "phases": [],
          "profile": "site-builder",
          "repo_url": "https://example.org/team/site.git",
          "schema_version": 1,
          "session_id": "0123456789abcdef",
          "start_timestamp": "2026-11-23T04:05:06.789Z"
        }

        """)
  }

  @Test("a finished session is written with every key in snake case, sorted")
  func finished() throws {
    let metadata = finishedExample()
    let json = String(decoding: metadata.json(), as: UTF8.self)
    #expect(
      json == """
        {
          "commit": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
          "end_timestamp": "2026-11-23T04:05:08.789Z",
          "error": "It said \\"no\\".",
          "exit_code": 137,
          "image": "localhost/base:1",
          "image_digest": "sha256:00ff",
          "outcome": "terminated_by_signal",
          "phases": [
            {
              "end_timestamp": "2026-11-23T04:05:07.789Z",
              "name": "launch",
              "start_timestamp": "2026-11-23T04:05:06.789Z"
            },
            {
              "name": "supervise",
              "start_timestamp": "2026-11-23T04:05:07.789Z"
            }
          ],
          "profile": "site-builder",
          "repo_url": "https://example.org/team/site.git",
          "schema_version": 1,
          "session_id": "0123456789abcdef",
          "signal": 9,
          "start_timestamp": "2026-11-23T04:05:06.789Z",
          "work_unit": "issue-42"
        }

        """)
  }

  @Test("what was written is read back as it was")
  func roundTrip() throws {
    for metadata in [Metadata.example(), finishedExample()] {
      #expect(try JSONDecoder().decode(Metadata.self, from: Data(metadata.json())) == metadata)
    }
  }

  @Test("each part is written alone as well, and read back")
  func parts() throws {
    let whole = Metadata(
      sessionID: "0123456789abcdef", daemonID: "0123abcd", profile: "p", repoURL: "https://example.org/é.git",
      workUnit: "\u{1b}\"", scheduledFor: Timestamp(secondsSinceEpoch: 1_795_000_000),
      startTimestamp: Timestamp(secondsSinceEpoch: 1_795_000_001), image: "localhost/base:1")
    #expect(try JSONDecoder().decode(Metadata.self, from: Data(whole.json())) == whole)
    for metadata in [whole, finishedExample()] {
      let (origin, course) = (Data(metadata.origin.jsonLine()), Data(metadata.course.jsonLine()))
      #expect(try JSONDecoder().decode(Metadata.Origin.self, from: origin) == metadata.origin)
      #expect(try JSONDecoder().decode(Metadata.Course.self, from: course) == metadata.course)
    }
  }

  @Test("a summary is the metadata with three fields more, sorted")
  func summary() {
    let metadata = finishedExample()
    let until = Timestamp(
      nanosecondsSinceEpoch: metadata.startTimestamp.nanosecondsSinceEpoch + 3_000_000_000)
    let summary = Metadata.Summary(metadata, record: "/r", duration: .milliseconds(2500), until: until)
    let json = #"""
      {"commit":"4b825dc642cb6eb9a060e54bf8d69288fbee4904","duration_ms":2500,\#
      "end_timestamp":"2026-11-23T04:05:08.789Z","error":"It said \"no\".","exit_code":137,\#
      "image":"localhost/base:1","image_digest":"sha256:00ff","outcome":"terminated_by_signal",\#
      "phase_ms":{"launch":1000,"supervise":2000},"phases":[{"end_timestamp":"2026-11-23T04:05:07.789Z",\#
      "name":"launch","start_timestamp":"2026-11-23T04:05:06.789Z"},{"name":"supervise",\#
      "start_timestamp":"2026-11-23T04:05:07.789Z"}],"profile":"site-builder","record":"/r",\#
      "repo_url":"https://example.org/team/site.git","schema_version":1,"session_id":"0123456789abcdef",\#
      "signal":9,"start_timestamp":"2026-11-23T04:05:06.789Z","work_unit":"issue-42"}

      """#
    #expect(String(decoding: summary.jsonLine(), as: UTF8.self) == json)
  }

  private func finishedExample() -> Metadata {
    var metadata = Metadata.example(workUnit: "issue-42")
    let second: Int64 = 1_000_000_000
    let start = metadata.startTimestamp.nanosecondsSinceEpoch
    let middle = Timestamp(nanosecondsSinceEpoch: start + second)
    metadata.imageDigest = "sha256:00ff"
    metadata.commit = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    metadata.phases = [
      .init(name: "launch", startTimestamp: metadata.startTimestamp, endTimestamp: middle),
      .init(name: "supervise", startTimestamp: middle),
    ]
    metadata.endTimestamp = Timestamp(nanosecondsSinceEpoch: start + 2 * second)
    metadata.outcome = "terminated_by_signal"
    metadata.exitCode = 137
    metadata.signal = 9
    metadata.error = "It said \"no\"."
    return metadata
  }
}
