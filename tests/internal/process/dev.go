package process

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	// startWithin is how long `doorbell dev` may take until it serves: long, for machines that are busy with other tests.
	startWithin = 30 * time.Second
	// tick is how often to look whether what is waited for has come.
	tick = 5 * time.Millisecond
	// pageLine begins the line that says where it serves.
	pageLine = "Live page: "
)

// Dev is `doorbell dev` on one data folder and, from its first start on, one port. Its methods are for one goroutine.
type Dev struct {
	*Process // the latest run

	bin  string
	args []string
	env  []string
	addr string
	runs []*Process
}

// StartDev starts `doorbell dev` with the arguments given, on a free port of this machine's own, and returns when it
// serves.
func StartDev(bin string, env []string, args ...string) (*Dev, error) {
	d := &Dev{bin: bin, env: env, args: args, addr: "127.0.0.1:0"}
	if err := d.start(); err != nil {
		return nil, err
	}
	return d, nil
}

// Addr is its host and port.
func (d *Dev) Addr() string { return d.addr }

// URL is where it is, without a slash at the end.
func (d *Dev) URL() string { return "http://" + d.addr }

// Log is what all of its runs have said on standard error.
func (d *Dev) Log() string {
	var b strings.Builder
	for i, run := range d.runs {
		fmt.Fprintf(&b, "--- run %d\n%s", i+1, run.Err)
	}
	return b.String()
}

// Restart starts it again once it has ended, on the same port and data, and returns when it serves.
func (d *Dev) Restart() error {
	if d.Running() {
		return errors.New("it is still running")
	}
	deadline := time.Now().Add(startWithin)
	for {
		err := d.start()
		// While nobody listened, any connection of this machine may have been given the port for its own end.
		if err == nil || !strings.Contains(err.Error(), "address already in use") || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * tick)
	}
}

// Kill ends the latest run with SIGKILL. Promoted from Process, the method's value would be that of an earlier run.
func (d *Dev) Kill() { d.Process.Kill() }

func (d *Dev) start() error {
	run, err := Start(d.bin, append([]string{"dev", "--listen", d.addr}, d.args...), Options{Env: d.env})
	if err != nil {
		return err
	}
	d.Process = run
	d.runs = append(d.runs, run)
	for deadline := time.Now().Add(startWithin); ; time.Sleep(tick) {
		for _, line := range run.Out.Lines() {
			if at, ok := strings.CutPrefix(line, pageLine); ok {
				return d.servesAt(at)
			}
		}
		if !run.Running() {
			return fmt.Errorf("doorbell dev ended with %d: %s", run.ExitCode(), run.Err)
		}
		if time.Now().After(deadline) {
			run.Kill()
			return fmt.Errorf("doorbell dev did not say where it serves within %s: %s%s", startWithin, run.Out, run.Err)
		}
	}
}

func (d *Dev) servesAt(page string) error {
	u, err := url.Parse(page)
	if err != nil || u.Scheme != "http" || u.Path != "/" {
		d.Kill()
		return fmt.Errorf("the line with the page's address names %q", page)
	}
	d.addr = u.Host
	return nil
}
