package hub

// prepared is one head of one feed, with the frames that tell it: each is made once for all who are told by one shard in one
// go.
type prepared struct {
	head    FeedHead
	frames  []frame
	writing *Client // whose write side is held right now
}

type frame struct {
	form     Form
	newEpoch bool
	bytes    []byte
}

// frame gives the frame for clients of a form, made when it is first asked for.
func (p *prepared) frame(form Form, newEpoch bool) []byte {
	for i := range p.frames {
		if f := &p.frames[i]; f.form == form && f.newEpoch == newEpoch {
			return f.bytes
		}
	}
	head := p.head
	head.NewEpoch = newEpoch
	p.frames = append(p.frames, frame{form, newEpoch, form.AppendSignal(nil, head)})
	return p.frames[len(p.frames)-1].bytes
}

// offer tells c of a head: at once, if there is nothing else to say and nobody is writing; else it is marked, and whoever
// writes finds it. It is called by c's shard.
func (c *Client) offer(f *follow, p *prepared) {
	if !c.out.Claim() {
		c.mark(f)
		return
	}
	p.writing = c
	if frame := c.takeAlone(f, p); frame != nil {
		c.out.Send(frame)
	} else {
		c.out.Release()
	}
	p.writing = nil
}

// takeAlone counts the head as told and gives its frame; nil: it is no news, or comes with what else there is to say.
func (c *Client) takeAlone(f *follow, p *prepared) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || f.gone || !f.announced || !p.head.Head.Newer(f.told) {
		return nil
	}
	if c.pending != nil || c.alive != c.told {
		if c.markLocked(f) {
			c.out.Wake()
		}
		return nil
	}
	newEpoch := f.told.Cursor.Epoch != p.head.Head.Cursor.Epoch
	f.told = p.head.Head
	return p.frame(c.form, newEpoch)
}
