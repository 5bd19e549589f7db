//! Writes SEARCH, SORT, ESEARCH and THREAD responses whose results are provided in pieces (RFC 9051 §7.3.4, RFC 3501
//! §7.2.5, RFC 5256 §4).
//!
//! A response can be longer than a server wants to buffer for one client. This module checks the order of its parts;
//! [`encode`](crate::encode) writes each part.

use proto_mail::{Error, Misuse, SendBuffer};

use super::session::Session;
use super::unfinished::{Listing, Unfinished};
use crate::grammar::sink::number;
use crate::numbers::encode::sequence_set;
use crate::partial_range::write_partial_range;
use crate::search::encode::{esearch_response, search, search_return_data};
use crate::thread::encode::ThreadOrder;
use crate::types::{
    EsearchResponse, Numbers, PartialRange, RelevancyScore, SearchResponse, SearchReturnData, Threads,
};

/// The form of a search's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchForm<'a> {
    /// `SEARCH`: lists each number separately.
    Search,
    /// `SORT`: lists each number separately, in the order of the result.
    Sort,
    /// `ESEARCH`, with the results that come before the numbers. The numbers are those of `ALL`.
    Esearch(EsearchResponse<'a>),
    /// `ESEARCH`, whose numbers are those of `PARTIAL`: this page of the result (RFC 9394).
    EsearchPage(EsearchResponse<'a>, PartialRange),
}

impl Session {
    pub(super) fn begin_search(&mut self, form: &SearchForm<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.may_write()?;
        match form {
            SearchForm::Esearch(head) | SearchForm::EsearchPage(head, _) => self.check_esearch(head)?,
            SearchForm::Search | SearchForm::Sort if self.state.is_selected() => {}
            SearchForm::Search | SearchForm::Sort => return Err(Misuse::WrongState.into()),
        }
        tx.put(b"* ");
        let listing = match form {
            SearchForm::Search => {
                tx.put(b"SEARCH");
                Listing::Singles
            }
            SearchForm::Sort => {
                tx.put(b"SORT");
                Listing::Singles
            }
            SearchForm::Esearch(head) => {
                esearch_response(head, tx);
                Listing::SetBegin
            }
            SearchForm::EsearchPage(head, page) => {
                esearch_response(head, tx);
                Listing::PageBegin(*page)
            }
        };
        self.unfinished = Unfinished::Search(listing);
        Ok(())
    }

    pub(super) fn search_numbers(&mut self, numbers: Numbers<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        let Unfinished::Search(listing) = self.unfinished else { return Err(Misuse::WrongState.into()) };
        if numbers.is_empty() {
            return Ok(());
        }
        match listing {
            Listing::Singles => search(&SearchResponse { numbers, mod_sequence: None }, tx),
            Listing::SetBegin => {
                tx.put(b" ALL ");
                sequence_set(numbers, tx);
                self.unfinished = Unfinished::Search(Listing::Set);
            }
            Listing::PageBegin(page) => {
                begin_page(page, tx);
                sequence_set(numbers, tx);
                self.unfinished = Unfinished::Search(Listing::Page);
            }
            Listing::Set | Listing::Page => {
                tx.put(b",");
                sequence_set(numbers, tx);
            }
            Listing::Scores => return Err(Misuse::WrongState.into()),
        }
        Ok(())
    }

    pub(super) fn search_scores(
        &mut self,
        scores: &[RelevancyScore],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let Unfinished::Search(listing) = self.unfinished else { return Err(Misuse::WrongState.into()) };
        if listing == Listing::Singles {
            return Err(Misuse::WrongState.into());
        }
        let mut scores = scores.iter();
        if listing != Listing::Scores {
            let Some(first) = scores.next() else { return Ok(()) };
            end_page(listing, tx);
            tx.put(b" RELEVANCY (");
            number(first.value().into(), tx);
            self.unfinished = Unfinished::Search(Listing::Scores);
        }
        for score in scores {
            tx.put(b" ");
            number(score.value().into(), tx);
        }
        Ok(())
    }

    pub(super) fn finish_search(
        &mut self,
        results: &[SearchReturnData<'_>],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let Unfinished::Search(listing) = self.unfinished else { return Err(Misuse::WrongState.into()) };
        end_page(listing, tx);
        if listing == Listing::Scores {
            tx.put(b")");
        }
        for result in results {
            match (listing, result) {
                (Listing::Singles, SearchReturnData::ModSeq(value)) => {
                    search(&SearchResponse { numbers: Numbers::new(&[]), mod_sequence: Some(*value) }, tx);
                }
                (Listing::Singles, _) => {}
                (_, result) => search_return_data(result, tx),
            }
        }
        tx.put(b"\r\n");
        self.unfinished = Unfinished::Nothing;
        Ok(())
    }

    pub(super) fn begin_thread(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.may_write()?;
        if !self.state.is_selected() {
            return Err(Misuse::WrongState.into());
        }
        tx.put(b"* THREAD");
        self.unfinished = Unfinished::Thread(ThreadOrder::default());
        Ok(())
    }

    /// Writes all of the items, or none of them.
    pub(super) fn thread_items(&mut self, threads: Threads<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        let Unfinished::Thread(order) = &mut self.unfinished else { return Err(Misuse::WrongState.into()) };
        let mut checked = *order;
        if !threads.items().all(|item| checked.accept(item)) {
            return Err(Misuse::InvalidArgument.into());
        }
        threads.items().for_each(|item| order.write(item, tx));
        Ok(())
    }

    pub(super) fn finish_thread(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::Thread(order) if order.is_between_threads() => {
                tx.put(b"\r\n");
                self.unfinished = Unfinished::Nothing;
                Ok(())
            }
            Unfinished::Thread(_) => Err(Misuse::InvalidArgument.into()),
            _ => Err(Misuse::WrongState.into()),
        }
    }
}

/// Writes what follows the numbers of a page, if the listing is one.
fn end_page(listing: Listing, tx: &mut SendBuffer) {
    match listing {
        Listing::PageBegin(page) => {
            begin_page(page, tx);
            tx.put(b"NIL)");
        }
        Listing::Page => tx.put(b")"),
        Listing::Singles | Listing::SetBegin | Listing::Set | Listing::Scores => {}
    }
}

/// Writes what precedes the numbers of a page. `NIL` stands in their place if there are none.
fn begin_page(page: PartialRange, tx: &mut SendBuffer) {
    tx.put(b" PARTIAL (");
    write_partial_range(page, tx);
    tx.put(b" ");
}
