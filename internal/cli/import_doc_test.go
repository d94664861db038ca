package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tidings/internal/testenv"
)

var docBlock = regexp.MustCompile("(?s)```(sh|ndjson|csv)\n(.*?)```")

// TestImportExportDocument runs the commands of doc/import-export.md with the
// files that it shows, on a running server.
func TestImportExportDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "doc", "import-export.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = exec.LookPath("sh")
	testenv.Need(t, "sh", err)
	t.Chdir(t.TempDir())
	serve(t, "data")
	sh := shell{map[string]string{"TIDINGS_DATA": "data"}}
	blocks := docBlock.FindAllStringSubmatch(string(text), -1)
	var commands []string
	for _, b := range blocks {
		if b[1] == "sh" {
			commands = append(commands, strings.Split(strings.TrimSpace(b[2]), "\n")...)
		} else if err := os.WriteFile("users."+b[1], []byte(b[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(commands) < 10 {
		t.Fatalf("the document has %d commands", len(commands))
	}
	for _, line := range commands {
		command, output, _ := strings.Cut(line, " > ")
		command, file, _ := strings.Cut(command, " < ")
		stdin := ""
		if file != "" {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			stdin = string(b)
		}
		args := words(t, command)
		r := sh.run(t.Context(), stdin, args[1:]...)
		if r.code != 0 || args[0] != "tidings" {
			t.Errorf("%s: %+v", line, r)
		}
		if output != "" {
			if err := os.WriteFile(output, []byte(r.stdout), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// fileBlock is a block of a document under the name of a file, and shBlock one of commands.
var (
	fileBlock = regexp.MustCompile("(?s)`([a-z]+\\.[a-z]+)`:\n\n```[a-z]+\n(.*?)```")
	shBlock   = regexp.MustCompile("(?s)```sh\n(.*?)```")
)

// TestDeviceFilesDocument runs the commands of doc/device-files.md with the programs and
// files that it shows, and compares what is in afterwards.
func TestDeviceFilesDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "doc", "device-files.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"sh", "jq", "python3"} {
		_, err = exec.LookPath(tool)
		testenv.Need(t, tool, err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, work := newCertifiedApp(t, true), t.TempDir()
	for _, b := range fileBlock.FindAllStringSubmatch(string(text), -1) {
		if err := os.WriteFile(filepath.Join(work, b[1]), []byte(b[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(program, filepath.Join(work, "tidings")); err != nil {
		t.Fatal(err)
	}
	commands := shBlock.FindAllStringSubmatch(string(text), -1)
	if len(commands) != 2 {
		t.Fatalf("the document has %d blocks of commands", len(commands))
	}
	for _, c := range commands {
		line := strings.ReplaceAll(c[1], "1400000007", "9")
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", line)
		cmd.Dir, cmd.Env = work, append(os.Environ(), "PATH="+work+":"+os.Getenv("PATH"), "TIDINGS_DATA="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "2 devices imported in ") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v, %s", line, err, out)
		}
	}
	golden(t, "device_files.ndjson", must(t, "device", "export", "--app", "9", "--data", dir))
}

// words takes a command apart as a shell does.
func words(t *testing.T, command string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+command).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}
