package cli

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/internal/server"
	"tidings/internal/testenv"
)

// plainOK is the whole answer of a command that has nothing to tell.
const plainOK = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`

func TestReadyLine(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	if want := "tidings: ready on " + s.url + " (data " + dir + ", metrics " + s.metrics + ")\n"; s.stdout.String() != want {
		t.Errorf("prints %q, want %q", s.stdout, want)
	}
	resp, err := http.Get(s.metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(b, []byte("go_goroutines")) {
		t.Errorf("no metrics: %v", err)
	}

	off := serve(t, t.TempDir(), "--metrics-listen", "off")
	if want := "tidings: ready on " + off.url + " (data " + off.dir + ")\n"; off.stdout.String() != want {
		t.Errorf("prints %q, want %q", off.stdout, want)
	}
}

// TestDemo starts a demo twice on one directory and each time runs the line
// that it prints, as printed.
func TestDemo(t *testing.T) {
	_, err := exec.LookPath("curl")
	testenv.Need(t, "curl", err)
	dir := filepath.Join(t.TempDir(), "demo")
	for range 2 {
		s := serve(t, dir, "--demo")
		lines := curlLines(t, s)
		if got := sh(t, lines[0]); got != plainOK+"\n" {
			t.Errorf("%s\nanswers %s", lines[0], got)
		}
		if got := sh(t, lines[1]); !strings.Contains(got, `"Count":2,`) || !strings.Contains(got, `"Sample":["kenji","omar"]`) {
			t.Errorf("%s\nanswers %s", lines[1], got)
		}
		got := must(t, "call", "--data", dir, "--app", "1400000001", "timpush/get_attr", `{"To_Account":["Mary"]}`, "--raw")
		if want := `"Attrs":{"country":"France","plan":"gold","region":"EU","app build":"42","since":"2025-03-14"}`; !strings.Contains(got, want) {
			t.Errorf("after it, Mary is %s", got)
		}
		for _, command := range []string{"push", "trace"} {
			if want := "tidings " + command + " --data '" + dir + "' --app 1400000001 "; !strings.Contains(s.stdout.String(), want) {
				t.Errorf("no line that it prints has %q:\n%s", want, s.stdout)
			}
		}
		if ready := readyLine.FindStringIndex(s.stdout.String()); ready[0] != 0 {
			t.Errorf("the first line is not the ready line:\n%s", s.stdout)
		}
		s.stop()
	}
}

// curlLines waits for the two lines that a demo prints.
func curlLines(t *testing.T, s *served) []string {
	t.Helper()
	return s.stdout.await(t, regexp.MustCompile(`(?m)^curl .*'; echo$`), 2)
}

func sh(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

func TestDemoKeepsToItself(t *testing.T) {
	dir := t.TempDir()
	must(t, "app", "create", "--data", dir)
	fails(t, exitUsage, "--demo needs an empty data directory, "+dir+" is not empty", "serve", "--demo", "--data", dir)
	file := write(t, "tidings.yaml", "apps:\n  - sdkappid: 5\n")
	fails(t, exitUsage, "--demo makes an app of its own", "serve", "--demo", "--config", file, "--data", t.TempDir())
	// A start that fails makes no directory.
	dir = filepath.Join(t.TempDir(), "demo")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	fails(t, 1, "is in use by another program", "serve", "--demo", "--data", dir, "--listen", taken.Addr().String())
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a start on a port that is taken leaves the directory: %v", err)
	}
	// One that was cut off leaves a directory that the next can use.
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, server.DemoMarker), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	serve(t, dir, "--demo")
}

func TestTwoServers(t *testing.T) {
	s := serve(t, t.TempDir())
	fails(t, 1, "data directory "+s.dir+" is in use by another tidings process\n", "serve", "--listen", "127.0.0.1:0", "--data", s.dir)
	fails(t, 1, "listen: "+strings.TrimPrefix(s.url, "http://")+" is in use by another program; choose another with --listen\n",
		"serve", "--listen", strings.TrimPrefix(s.url, "http://"), "--data", t.TempDir())
}

// TestForeignDirectory: what is not made by this program is left as it is, and a volume
// that has just been made is as good as an empty directory.
func TestForeignDirectory(t *testing.T) {
	for _, part := range []string{"index.html", "log"} {
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, part), 0o755)); err != nil {
			t.Fatal(err)
		}
		want := dir + " is no data directory of tidings, and " + part + " is in it: choose another with --data"
		fails(t, 1, want, "serve", "--listen", "127.0.0.1:0", "--data", dir)
		fails(t, 1, want, "app", "create", "9", "--data", dir)
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || info.Mode().Perm() != 0o755 {
			t.Errorf("the directory has mode %v and %v, %v", info.Mode(), entries, err)
		}
	}
	file := write(t, "file", "")
	for _, command := range [][]string{{"serve"}, {"serve", "--demo"}, {"serve", "--check-config"}, {"app", "create", "9"}, {"app", "list"}, {"status"}} {
		if r := tidings(t, append(command, "--data", file)...); r.code != 1 || !strings.HasSuffix(r.stderr, ": "+file+" is a file and not a directory: choose another with --data\n") {
			t.Errorf("%v: %+v", command, r)
		}
	}
	volume := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(volume, "lost+found"), 0o700), os.Mkdir(filepath.Join(volume, ".snapshot"), 0o700)); err != nil {
		t.Fatal(err)
	}
	must(t, "app", "create", "9", "--data", volume)
	if err := os.WriteFile(filepath.Join(volume, "note"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "app", "create", "10", "--data", volume)
}

// TestMisspeltVariable: it is warned of even if the configuration has a mistake, perhaps
// because of it.
func TestMisspeltVariable(t *testing.T) {
	t.Setenv("TIDINGS_LISEN", "127.0.0.1:0")
	r := tidings(t, "serve", "--listen", "nonsense")
	if !strings.HasPrefix(r.stderr, "tidings: warning: the variable TIDINGS_LISEN is no setting, did you mean TIDINGS_LISTEN?\ntidings: --listen") || r.code != exitConfig {
		t.Errorf("%+v", r)
	}
}

// TestLongPath has a data directory whose control socket is too long for a
// socket address.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 20), strings.Repeat("path-", 20))
	s := serve(t, dir)
	must(t, "app", "create", "9", "--data", dir)
	if out := must(t, "call", "--app", "9", "--data", dir, "timpush/get_attr_name"); !strings.Contains(out, `"ErrorCode": 0`) {
		t.Error(out)
	}
	s.stop()
	if out := must(t, "app", "list", "--data", dir); !strings.Contains(out, "app 9") {
		t.Error(out)
	}
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	return certificateFor(t, "127.0.0.1")
}

// certificateFor makes a self-signed certificate for an address or a host.
func certificateFor(t *testing.T, host string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	s := serve(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key, "--demo", "--shutdown-timeout", "5s")
	if !strings.HasPrefix(s.url, "https://") {
		t.Fatalf("serves on %s", s.url)
	}
	call := []string{"call", "--data", s.dir, "--app", "1400000001", "timpush/get_attr_name"}
	must(t, call...) // the certificate is known from the control socket
	fails(t, 1, "trust it with --ca FILE or --insecure", append(call, "--url", s.url)...)
	must(t, append(call, "--ca", cert)...)
	must(t, append(call, "--insecure")...)
	must(t, append(call, "--url", s.url, "--ca", cert)...)
	localhost := strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	fails(t, 1, "match localhost; name the server in --url as its certificate does\n", append(call, "--url", localhost, "--ca", cert)...)
	other, _ := certificate(t)
	fails(t, 1, "; the file of --ca does not have the certificate that signed it\n", append(call, "--url", s.url, "--ca", other)...)
	// The default URL has the address, which is not in the certificate of a host.
	cert2, key2 := certificateFor(t, "push.example.com")
	named := serve(t, t.TempDir(), "--tls-cert", cert2, "--tls-key", key2, "--demo")
	must(t, "call", "--data", named.dir, "--app", "1400000001", "timpush/get_attr_name")
	must(t, "audience", "count", "--data", named.dir, "--app", "1400000001")
	fails(t, 1, "holds no certificate", append(call, "--ca", key)...)

	_, err := exec.LookPath("curl")
	testenv.Need(t, "curl", err)
	if got := sh(t, curlLines(t, s)[0]); got != plainOK+"\n" {
		t.Errorf("curl answers %s", got)
	}
	if got := sh(t, strings.TrimSpace(must(t, append(call, "--curl", "--ca", cert)...))); !strings.Contains(got, `"ErrorCode":0`) {
		t.Errorf("curl with --cacert answers %s", got)
	}
}

// TestRefusedUpload: over TLS too, with HTTP/1.1 and HTTP/2, who is still sending a body when
// the request is refused gets the code.
func TestRefusedUpload(t *testing.T) {
	_, err := exec.LookPath("curl")
	testenv.Need(t, "curl", err)
	cert, key := certificate(t)
	s := serve(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key, "--demo", "--body-timeout", "60s")
	body := write(t, "body", strings.Repeat("x", 900_000))
	for _, version := range []string{"--http1.1", "--http2"} {
		out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--cacert", cert, version, "--limit-rate", "900k", "--data-binary", "@"+body, "-w", " HTTP/%{http_version}",
			s.url+"/v4/timpush/get_attr?sdkappid=1400000001&identifier=administrator&usersig=forged").CombinedOutput()
		if want := " HTTP/" + map[string]string{"--http1.1": "1.1", "--http2": "2"}[version]; err != nil || !strings.Contains(string(out), `"ErrorCode":70003`) || !strings.HasSuffix(string(out), want) {
			t.Errorf("curl %s: %v, %s; want code 70003 over%s", version, err, out, want)
		}
	}
}

// TestBinary builds the program as a release is built, and stops it with a
// signal.
func TestBinary(t *testing.T) {
	program := filepath.Join(t.TempDir(), "tidings")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags", "-X tidings/internal/cli.version=v1.2.3-test", "-o", program, "tidings/cmd/tidings")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "tidings v1.2.3-test (") {
		t.Errorf("version: %q, %v", out, err)
	}
	err = exec.CommandContext(t.Context(), program, "apps").Run()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 64 {
		t.Errorf("apps: %v, want exit code 64", err)
	}

	dir := t.TempDir()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd := exec.CommandContext(t.Context(), program, "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--data", dir)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stdout)
		if line, err := lines.ReadString('\n'); err != nil || !readyLine.MatchString(line) {
			t.Fatalf("first line %q, %v\n%s", line, err, &stderr)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if rest, _ := io.ReadAll(lines); len(rest) > 0 {
			t.Errorf("prints %q after the ready line", rest)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", signal, err, &stderr)
		}
		if !regexp.MustCompile(` level=INFO msg=stopped duration=\S+ uptime=\S+\n$`).MatchString(stderr.String()) {
			t.Errorf("%v: the last line of the log is not that it stopped:\n%s", signal, &stderr)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*.sock")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// TestPinned: a server that shows another certificate than it says is not called.
func TestPinned(t *testing.T) {
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	defer other.Close()
	e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, lookup: shell{}.lookup}
	err := e.call(t.Context(), &target{url: other.URL, local: true, app: 9, tls: pinned([]byte("another"))}, "timpush/get_attr", []byte("{}"), false)
	if err == nil || !strings.Contains(err.Error(), "another certificate answers") {
		t.Errorf("a call: %v", err)
	}
}
