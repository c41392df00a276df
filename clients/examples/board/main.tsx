// Cards that several tabs edit: what is done is seen at once, here and elsewhere; offline it waits; reloads show the last state first.

import { createDoorbell, type WritableFeed } from '@doorbell/client'
import { indexedDBPersistence } from '@doorbell/client/persist'
import { DoorbellProvider, useFeed } from '@doorbell/client/react'
import { useEffect, useRef, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { Status } from '../status.js'

interface Card { text: string; column: Column; at: number }
type Column = 'todo' | 'doing' | 'done'
const columns: [Column, string][] = [['todo', 'To do'], ['doing', 'Doing'], ['done', 'Done']]

const name = 'board:team'
const db = createDoorbell({ url: '', persistence: indexedDBPersistence({ name: 'team-board' }) })

/** Where the keyboard is when a card has moved: on the same button of the same card. */
let focusOn: { id: string; by: number } | undefined

/** How many writes of this tab are on their way, and what went wrong last. */
function useWrites() {
  const [waiting, setWaiting] = useState(0)
  const [problem, setProblem] = useState('')
  const write = (written: Promise<unknown>) => {
    setWaiting((n) => n + 1)
    written.then(() => setProblem(''), (e: Error) => setProblem(`That was refused and taken back: ${e.message}`)).finally(() => setWaiting((n) => n - 1))
  }
  return { waiting, problem, write }
}

function CardView({ id, card, feed, write }: { id: string; card: Card; feed: WritableFeed<Card>; write: (p: Promise<unknown>) => void }) {
  const [text, setText] = useState<string>()
  const at = columns.findIndex(([c]) => c === card.column)
  const buttons = useRef<HTMLDivElement>(null)
  const move = (by: number) => {
    focusOn = { id, by }
    write(feed.put(id, { ...card, column: columns[at + by]![0], at: Date.now() }))
  }
  useEffect(() => {
    if (focusOn?.id !== id) return
    const [back, on] = buttons.current!.querySelectorAll('button')
    const wanted = focusOn.by < 0 ? back : on
    ;(wanted!.disabled ? (wanted === on ? back : on) : wanted)!.focus()
    focusOn = undefined
  }, [id])
  const save = () => {
    if (text !== undefined && text.trim() && text !== card.text) write(feed.put(id, { ...card, text: text.trim() }))
    setText(undefined)
  }
  return (
    <li className="card">
      <textarea
        aria-label="Text of the card" rows={2} value={text ?? card.text} onChange={(e) => setText(e.target.value)} onBlur={save}
        onKeyDown={(e) => {
          if (e.key === 'Enter' && !e.shiftKey) e.currentTarget.blur()
          if (e.key === 'Escape') setText(undefined)
        }}
      />
      <div className="actions" ref={buttons}>
        <button disabled={at === 0} onClick={() => move(-1)} aria-label={`Move “${card.text}” to ${columns[at - 1]?.[1]}`}>←</button>
        <button disabled={at === 2} onClick={() => move(1)} aria-label={`Move “${card.text}” to ${columns[at + 1]?.[1]}`}>→</button>
        <button className="delete" onClick={() => { write(feed.delete(id)); document.querySelector<HTMLInputElement>('.add input')!.focus() }} aria-label={`Delete “${card.text}”`}>Delete</button>
      </div>
    </li>
  )
}

function Board() {
  const { items, feed } = useFeed<Card>(name)
  const { waiting, problem, write } = useWrites()
  const [text, setText] = useState('')
  const add = (text: string, column: Column) => feed.put(crypto.randomUUID(), { text, column, at: Date.now() })
  const cards = [...items].sort(([, a], [, b]) => a.at - b.at)
  return (
    <>
      <header className="top">
        <h1>Team board</h1>
        <Status feed={name} waiting={waiting} />
      </header>
      <main>
        {problem && <p className="problem" role="alert">{problem}</p>}
        <form className="add" onSubmit={(e) => {
          e.preventDefault()
          if (text.trim()) write(add(text.trim(), 'todo'))
          setText('')
        }}>
          <input value={text} onChange={(e) => setText(e.target.value)} aria-label="A new card" placeholder="What is to be done?" maxLength={200} />
          <button className="primary">Add card</button>
        </form>
        {/* Not before there is something to show, so that nothing is pushed about. */}
        <div className="columns" hidden={!feed.cursor}>
          {columns.map(([column, title]) => {
            const here = cards.filter(([, c]) => c.column === column)
            return (
              <section key={column} aria-label={title}>
                <h2>{title} <span>{here.length}</span></h2>
                <ul>{here.map(([id, card]) => <CardView key={id} {...{ id, card, feed, write }} />)}</ul>
                {here.length === 0 && <p className="empty">No cards</p>}
              </section>
            )
          })}
        </div>
      </main>
    </>
  )
}

createRoot(document.getElementById('root')!).render(<DoorbellProvider doorbell={db}><Board /></DoorbellProvider>)
