import { PROCESS_CREATION, type RecordReceiver, type SysmonEvent, type WantedRecords } from '../../event.js';
import { lookupKeyOf } from '../../hash.js';
import { asRecordView, fileHashesOf } from '../record-view.js';
import { decodeOtherRecord, decodeRecord, type TextRecord } from './record.js';

/** Where a record of text stands. */
export interface TextPlace {
  /** Its number in the log, from 1. */
  readonly record: string;
  readonly offset: number;
  /** Whether the log ends with it, so that it may be cut. */
  readonly isLast: boolean;
}

/** Hands one record of a text log over as what it turns out to be: a wanted event, another record, or one that cannot be read. */
export function handOver(record: TextRecord, place: TextPlace, wanted: WantedRecords, receiver: RecordReceiver): void {
  const decoded = decodeRecord(record, wanted.eventIds);
  const { isLast, ...where } = place;
  if (decoded === 'other') {
    const other = wanted.isEveryRecordWanted === true ? decodeOtherRecord(record) : undefined;
    if (other === undefined) receiver.onOther(1);
    else receiver.onOtherRecord?.(asRecordView(other));
  } else if (decoded === 'unreadable') {
    receiver.onReject({
      code: 'BAD_RECORD',
      message: 'the text of the event holds none of its fields',
      ...where,
    });
  } else if (isLast && isCut(decoded)) {
    receiver.onReject({ code: 'TRUNCATED', message: 'the log ends inside the event', ...where });
  } else {
    receiver.onEvent(asRecordView(decoded));
  }
}

/** Whether a process creation ends before a whole digest and before its parent, which follows the digests in every version. */
function isCut(event: SysmonEvent): boolean {
  return (
    event.eventId === PROCESS_CREATION &&
    !event.data.has('ParentProcessGuid') &&
    lookupKeyOf(fileHashesOf(event)) === undefined
  );
}
