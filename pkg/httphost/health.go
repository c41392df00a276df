package httphost

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Alive answers /healthz: the process can serve.
func Alive(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }

// Ready answers /readyz: 200 when check finds nothing within a second, else 503. Why, the log says; the asker learns no
// more than that.
func Ready(check func(context.Context) error, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := check(ctx); err != nil {
			log.Warn("not ready", "error", err)
			say(w, http.StatusServiceUnavailable, "not ready")
			return
		}
		say(w, http.StatusOK, "ready")
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // the asker may be gone
}
