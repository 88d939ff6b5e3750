// A server of one repository by https, for whoever has the token.

import Glibc

/// git's own CGI program behind a web server, with a certificate of its own. The token may be changed while it serves.
final class TokenServer {
  let url: String
  /// The file with the certificate that a client has to trust.
  let certificate: String
  private let tokenFile: String
  private let program: Program

  private static let script = #"""
    import base64, http.server, os, ssl, subprocess, sys
    root, certificate, key, token_file = sys.argv[1:]
    class Handler(http.server.BaseHTTPRequestHandler):
        def serve(self):
            wanted = b"x-access-token:" + open(token_file, "rb").read()
            given = self.headers.get("Authorization", "")
            if given != "Basic " + base64.b64encode(wanted).decode():
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=git")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            length = self.headers.get("Content-Length", "0")
            cgi = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": root, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_LENGTH": length,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
            answer = subprocess.run(["git", "http-backend"], env=cgi, input=self.rfile.read(int(length)),
                stdout=subprocess.PIPE, check=True).stdout
            head, _, body = answer.partition(b"\r\n\r\n")
            fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            status = [value for name, value in fields if name == "Status"]
            self.send_response(int(status[0].split()[0]) if status else 200)
            for name, value in fields:
                if name != "Status": self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        do_GET = do_POST = serve
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()
    """#

  /// Serves a repository with one commit on a free port of loopback.
  init(token: String) throws {
    let home = "\(Ground.directory)/token-server"
    try Host.run("rm", ["-rf", home])
    try makeDirectory(home, mode: 0o700)
    certificate = "\(home)/certificate"
    tokenFile = "\(home)/token"
    try writeFile(tokenFile, token, mode: 0o600)
    try Host.run(
      "openssl",
      [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "\(home)/key", "-out",
        certificate,
      ])
    let seed = "\(home)/seed"
    try Host.run("git", ["init", "--quiet", seed], environment: Repositories.gitEnvironment)
    try writeFile("\(seed)/file", "private\n")
    for words in [["add", "file"], ["commit", "--quiet", "--message", "Begin"]] {
      try Host.run("git", ["-C", seed] + words, environment: Repositories.gitEnvironment)
    }
    try Host.run(
      "git", ["clone", "--quiet", "--bare", seed, "\(home)/private.git"],
      environment: Repositories.gitEnvironment)
    program = try Program(
      try Host.find("python3"), ["-c", Self.script, home, certificate, "\(home)/key", tokenFile],
      environment: Repositories.gitEnvironment, directory: Ground.tools, name: "token-server")
    try program.waitForOutput("\n")
    url = "https://127.0.0.1:\(program.output.text.prefix { $0.isNumber })/private.git"
  }

  /// Takes another token from now on.
  func revoke() throws { try writeFile(tokenFile, "another", mode: 0o600) }

  func stop() { program.kill() }
}
