// How the phases of a session follow one another, and what they add up to.

import Testing
import Time

@testable import Audit

@Suite("Phase times")
struct PhaseTimesTests {
  private let start = Metadata.example().startTimestamp

  private func at(_ milliseconds: Int) -> Timestamp { start + .milliseconds(milliseconds) }

  private func times(_ metadata: Metadata, until now: Timestamp? = nil) -> [String] {
    metadata.phaseTimes(until: now).map { "\($0.name) \($0.time / .milliseconds(1))" }
  }

  @Test("one phase ends as the next begins, and the last is as long as it lasts")
  func order() {
    var metadata = Metadata.example()
    #expect(times(metadata) == [])
    metadata.course.endPhase(at: at(1))
    #expect(metadata.phases == [])
    metadata.course.beginPhase("image", at: at(0))
    metadata.course.beginPhase("launch", at: at(40))
    #expect(times(metadata) == ["image 40.0"])
    #expect(times(metadata, until: at(100)) == ["image 40.0", "launch 60.0"])
    metadata.course.endPhase(at: at(140))
    #expect(times(metadata, until: at(1000)) == ["image 40.0", "launch 100.0"])
    #expect(metadata.duration == .milliseconds(140))
  }

  @Test("an end that is known is not moved, and what follows a gap leaves the gap")
  func gap() {
    var metadata = Metadata.example()
    metadata.course.beginPhase("command", at: at(0))
    metadata.course.endPhase(at: at(10))
    metadata.course.beginPhase("teardown", at: at(5000))
    metadata.course.endPhase(at: at(5001))
    #expect(times(metadata) == ["command 10.0", "teardown 1.0"])
  }

  @Test("entries of one name are added up where the first of them is")
  func sameName() {
    var metadata = Metadata.example()
    for (index, name) in ["queued", "fetch", "queued", "fetch", "queued"].enumerated() {
      metadata.course.beginPhase(name, at: at(index * 10))
    }
    #expect(times(metadata, until: at(100)) == ["queued 80.0", "fetch 20.0"])
    #expect(times(metadata) == ["queued 20.0", "fetch 20.0"])
  }

  @Test("a clock that is set back makes no phase shorter than nothing")
  func clockSetBack() {
    var metadata = Metadata.example()
    metadata.course.beginPhase("image", at: at(1000))
    metadata.course.beginPhase("launch", at: at(-5000))
    #expect(metadata.phases[0].endTimestamp == at(1000))
    metadata.course.endPhase(at: at(-4000))
    #expect(times(metadata) == ["image 0.0", "launch 1000.0"])
    #expect(metadata.duration == .zero)
  }
}
