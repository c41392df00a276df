package sse

// Dialogue is what Start was given, for its owner to know again; nil before that, and once the connection ends.
func (c *Conn) Dialogue() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != nil {
		return nil
	}
	return c.dialogue
}
