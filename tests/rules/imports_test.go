// Package rules holds the rules of the repository, as tests: each with its reason.
package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "github.com/doorbell-sync/doorbell/"

// pkg is what go list says of a package, tests left out: they may put together what they like.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string // all that it imports, and what that imports, and so on
}

// path is the package's folder below the repository's root; "" for packages of others.
func (p pkg) path() string {
	path, ok := strings.CutPrefix(p.ImportPath, root)
	if !ok {
		return ""
	}
	return path
}

// rule says what some packages may not import.
type rule struct {
	reason string
	// for tells whether the rule binds the package in that folder.
	binds func(path string) bool
	// deep: what the imports import counts as well.
	deep bool
	// breaks tells whether an import by that package breaks the rule. local is the import's folder, "" for packages of others.
	breaks func(path, local, imported string) bool
}

var rules = []rule{
	{
		reason: "the domain is what everything else rests on: it imports the standard library alone",
		binds:  in("pkg/feed"),
		breaks: func(_, _, imported string) bool { return !standard(imported) },
	},
	{
		reason: "proto and migrations are leaves, so that anything may use them",
		binds:  in("proto", "migrations"),
		breaks: func(path, local, _ string) bool {
			return local != "" && (!below(path, "proto") || !below(local, "proto"))
		},
	},
	{
		reason: "a contract knows the domain and other contracts, and no implementation",
		binds:  is("pkg/store", "pkg/bus"),
		breaks: func(_, local, imported string) bool {
			if local != "" {
				return !slices.Contains([]string{"pkg/feed", "pkg/store", "pkg/bus"}, local)
			}
			return !standard(imported)
		},
	},
	{
		reason: "what the services share knows no service",
		binds:  in("pkg"),
		breaks: func(_, local, _ string) bool { return below(local, "services", "clients", "tests") },
	},
	{
		reason: "services never import each other; only services/doorbell puts them together",
		binds: func(path string) bool {
			return below(path, "services") && !below(path, "services/doorbell")
		},
		breaks: func(path, local, _ string) bool {
			return below(local, "services") && service(local) != service(path)
		},
	},
	{
		reason: "a service works on contracts; which adapter stands behind them, its node decides, which is one process of it",
		binds: func(path string) bool {
			return below(path, "services/api", "services/gateway", "services/worker") && !wires(path)
		},
		breaks: func(_, local, _ string) bool {
			return below(local, "pkg/store/gormstore", "pkg/bus/membus", "pkg/bus/redisbus", "pkg/servers", "migrations")
		},
	},
	{
		reason: "the gateway touches no database, on no way at all",
		binds:  in("services/gateway"),
		deep:   true,
		breaks: func(_, local, imported string) bool {
			// By what drives one: the metrics library has database/sql in it, which without a driver is only types.
			return below(local, "pkg/store", "pkg/servers/postgres") || beginsWith(imported, drivers...)
		},
	},
	{
		reason: "a client is used by people who have nothing else of Doorbell",
		binds:  in("clients/go"),
		breaks: func(_, local, _ string) bool { return local != "" && !below(local, "clients/go") },
	},
	only("gorm is seen only in packages named *store: a store is the one place that knows SQL",
		func(path string) bool { return strings.HasSuffix(path, "store") },
		"gorm.io/", "github.com/glebarez/", "database/sql"),
	only("go-redis is seen only in redisbus, the rate limiter and the kit that tests them",
		in("pkg/bus/redisbus", "pkg/testkit", "services/api/internal/ratelimit"),
		"github.com/redis/"),
	only("gorilla is seen only where sockets are", in("services/gateway/internal/wsconn"), "github.com/gorilla/"),
	only("Protocol Buffers are one of the gateway's encodings: they are seen only there, where they are defined, and in the collector that tests have",
		in("proto", "services/gateway/internal/wire", "tests/internal/otlp"),
		"google.golang.org/protobuf", "github.com/bufbuild/", root+"proto/"),
	only("where spans go is telemetry's: others begin them with OpenTelemetry's API, and a client has nothing to do with either",
		in("pkg/telemetry", "tests/internal/otlp"), "go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters", "go.opentelemetry.io/proto", "go.opentelemetry.io/contrib"),
	{
		reason: "there is no global tracer: what isn't handed over isn't traced, and the domain and its contracts know of no spans at all",
		binds:  func(path string) bool { return !in("pkg/telemetry", "tests/internal/otlp")(path) },
		breaks: func(path, _, imported string) bool {
			if !beginsWith(imported, "go.opentelemetry.io/") {
				return false
			}
			spans := below(path, "pkg/tracing", "services/api", "services/gateway")
			return !spans || !beginsWith(imported, "go.opentelemetry.io/otel/")
		},
	},
	only("gin is seen only in the API's rest and the host that mounts it, and in the bare server that a bench holds them against",
		in("services/api/internal/rest", "services/doorbell/internal/bench/baseline"), "github.com/gin-gonic/"),
}

// drivers are what a database is touched with.
var drivers = []string{"gorm.io/", "github.com/jackc/pgx", "github.com/lib/pq", "github.com/glebarez/", "modernc.org/sqlite"}

func beginsWith(imported string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(imported, p) })
}

// only says that what begins with one of the prefixes may be imported in some packages only.
func only(reason string, allowed func(string) bool, prefixes ...string) rule {
	return rule{
		reason: reason,
		binds:  func(path string) bool { return !allowed(path) },
		breaks: func(_, _, imported string) bool {
			return beginsWith(imported, prefixes...)
		},
	}
}

func in(folders ...string) func(string) bool {
	return func(path string) bool { return below(path, folders...) }
}

func is(folders ...string) func(string) bool {
	return func(path string) bool { return slices.Contains(folders, path) }
}

func below(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

// service is the folder of the service that path belongs to.
func service(path string) string {
	parts := strings.SplitN(path, "/", 3)
	return strings.Join(parts[:2], "/")
}

// wires tells whether the package puts a service together.
func wires(path string) bool {
	return strings.HasSuffix(path, "/node") || strings.Contains(path, "/cmd/")
}

func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// broken lists what breaks the rules.
func broken(packages []pkg) []string {
	var found []string
	for _, p := range packages {
		if p.path() == "" {
			continue
		}
		for _, r := range rules {
			if !r.binds(p.path()) {
				continue
			}
			imports := p.Imports
			if r.deep {
				imports = slices.Concat(p.Imports, p.Deps)
			}
			for _, imported := range imports {
				local, _ := strings.CutPrefix(imported, root)
				if local == imported {
					local = ""
				}
				if r.breaks(p.path(), local, imported) {
					found = append(found, p.path()+" imports "+imported+": "+r.reason)
				}
			}
		}
	}
	return found
}

func TestWhoMayImportWhom(t *testing.T) {
	packages := list(t)
	ours := 0
	for _, p := range packages {
		if p.path() != "" {
			ours++
		}
	}
	if ours < 15 {
		t.Fatalf("found %d packages of ours: this test looks in the wrong place", ours)
	}
	for _, b := range broken(packages) {
		t.Error(b)
	}
}

func TestTheGatewaysRuleLooksThroughImports(t *testing.T) {
	sneaky := pkg{ImportPath: root + "services/gateway/node", Imports: []string{root + "pkg/sneaky"}, Deps: []string{root + "pkg/sneaky", "github.com/jackc/pgx/v5"}}
	if len(broken([]pkg{sneaky})) == 0 {
		t.Error("a database behind another package is not seen")
	}
}

// TestEveryRuleBites breaks each rule once.
func TestEveryRuleBites(t *testing.T) {
	for _, c := range []struct{ path, imports string }{
		{"pkg/feed", "golang.org/x/text"},
		{"pkg/feed", root + "pkg/policy"},
		{"migrations", root + "pkg/feed"},
		{"pkg/store", root + "pkg/store/gormstore"},
		{"pkg/bus", "github.com/redis/go-redis/v9"},
		{"pkg/policy", root + "services/api"},
		{"services/api/internal/rest", root + "services/gateway"},
		{"services/worker", root + "services/doorbell/internal/cli"},
		{"services/api", root + "pkg/store/gormstore"},
		{"services/worker", root + "pkg/servers/postgres"},
		{"services/gateway/internal/hub", root + "pkg/store"},
		{"services/gateway", "database/sql"},
		{"services/gateway/node", root + "pkg/store/gormstore"},
		{"services/gateway/node", root + "pkg/servers/postgres"},
		{"services/worker/internal/x", root + "pkg/bus/redisbus"},
		{"clients/go", root + "pkg/feed"},
		{"pkg/policy", "gorm.io/gorm"},
		{"services/worker", "github.com/redis/go-redis/v9"},
		{"services/gateway/internal/hub", "github.com/gorilla/websocket"},
		{"services/doorbell/internal/embedded", "github.com/gin-gonic/gin"},
		{"services/gateway/internal/session", "google.golang.org/protobuf/proto"},
		{"clients/go", root + "proto/doorbell/v1"},
		{"services/api/internal/rest", "go.opentelemetry.io/otel/sdk/trace"},
		{"services/gateway", "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"},
		{"services/api/internal/rest", "go.opentelemetry.io/otel"},
		{"pkg/bus/redisbus", "go.opentelemetry.io/otel/trace"},
		{"clients/go", "go.opentelemetry.io/otel/trace"},
	} {
		if len(broken([]pkg{{ImportPath: root + c.path, Imports: []string{c.imports}}})) == 0 {
			t.Errorf("%s may import %s", c.path, c.imports)
		}
	}
}

func list(t *testing.T) []pkg {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", "work")
	cmd.Dir = top
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
